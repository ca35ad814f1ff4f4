"""How fast the route is: against what one would write by hand, side by side in one run.

Run ``python -m benchmarks.serving [MIB]`` from the project's folder. Both sides are
routes of one application in one gunicorn; they take turns, and each figure is the
median of several rounds. A ratio above 1 means that the route is the faster one.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import typing as t

import requests
from flask import Flask
from flask import Response
from flask import send_from_directory

from flask_store import Store
from tests.servers import gunicorn
from tests.servers import seaweedfs

ROUNDS = 7
SMALL = 10 * 1024
SMALL_REQUESTS = 200


def create_app() -> Flask:
    """Both sides; the settings come from the environment."""
    import boto3

    app = Flask(__name__)
    app.config.update(json.loads(os.environ["BENCHMARK"]))
    Store(app)
    Store(app, name="bucket")
    config = app.config
    client = boto3.client(
        "s3",
        endpoint_url=config["STORE_S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=config["STORE_S3_ACCESS_KEY"],
        aws_secret_access_key=config["STORE_S3_SECRET_KEY"],
    )

    @app.get("/by-hand/local/<path:name>")
    def local(name: str) -> Response:
        return send_from_directory(config["STORE_PATH"], name)

    @app.get("/by-hand/s3/<path:name>")
    def s3(name: str) -> Response:
        found = client.get_object(Bucket=config["STORE_S3_BUCKET"], Key=name)
        response = Response(
            found["Body"].iter_chunks(1024 * 1024), mimetype=found["ContentType"]
        )
        response.content_length = found["ContentLength"]
        return response

    @app.get("/")
    def ready() -> str:
        return ""

    return app


def prepare(config: dict[str, t.Any], folder: str, size: int) -> None:
    """A large and a small file in both stores."""
    app = Flask(__name__)
    app.config.update(config)
    stores = Store(app), Store(app, name="bucket")
    path = pathlib.Path(folder, "source.bin")
    with path.open("wb") as file:
        for _ in range(size // 1024**2):
            file.write(os.urandom(1024**2))
    with app.app_context():
        for store in stores:
            store.Provider().save(path, filename="large.bin")
            store.Provider().save(os.urandom(SMALL), filename="small.bin")


def throughput(session: requests.Session, url: str) -> float:
    """MB/s of one download."""
    started, total = time.perf_counter(), 0
    with session.get(url, stream=True, timeout=120) as reply:
        reply.raise_for_status()
        while data := reply.raw.read(1024**2):
            total += len(data)
    return total / (time.perf_counter() - started) / 1e6


def rate(session: requests.Session, url: str) -> float:
    """Requests per second for a small file, one after the other."""
    started = time.perf_counter()
    for _ in range(SMALL_REQUESTS):
        session.get(url, timeout=30).raise_for_status()
    return SMALL_REQUESTS / (time.perf_counter() - started)


def compare(
    measure: t.Callable[[requests.Session, str], float], ours: str, theirs: str
) -> tuple[float, float]:
    """The medians of both sides, which take turns."""
    figures: tuple[list[float], list[float]] = [], []
    with requests.Session() as session:
        for number in range(ROUNDS + 1):
            for found, url in zip(figures, (ours, theirs), strict=True):
                value = measure(session, url)
                if number:  # the first round warms up
                    found.append(value)
    return statistics.median(figures[0]), statistics.median(figures[1])


def main(size: int) -> None:
    """Print one line for each comparison."""
    with tempfile.TemporaryDirectory() as folder, seaweedfs() as server:
        config = {
            "STORE_PATH": f"{folder}/uploads",
            "BUCKET_STORE_PROVIDER": "flask_store.stores.s3.S3Store",
            "BUCKET_STORE_PATH": "",
            "BUCKET_STORE_SERVE": "proxy",
            "STORE_S3_ENDPOINT_URL": server.endpoint_url,
            "STORE_S3_REGION": "us-east-1",
            "STORE_S3_BUCKET": server.make_bucket(),
            "STORE_S3_ACCESS_KEY": server.access_key,
            "STORE_S3_SECRET_KEY": server.secret_key,
        }
        prepare(config, folder, size)
        env = {"BENCHMARK": json.dumps(config)}
        args = ["--worker-class=gthread", "--threads=4", "--keep-alive=60"]
        with gunicorn("benchmarks.serving:create_app()", *args, env=env) as running:
            print(f"{'':24}{'the route':>12}{'by hand':>12}{'ratio':>8}")
            for title, prefix, hand in [
                ("local", "flaskstore", "local"),
                ("S3", "flaskstore-bucket", "s3"),
            ]:
                for kind, measure, name in [
                    (f"{size // 1024**2} MiB, MB/s", throughput, "large.bin"),
                    ("10 KiB, requests/s", rate, "small.bin"),
                ]:
                    ours, theirs = compare(
                        measure,
                        f"{running.url}/{prefix}/{name}",
                        f"{running.url}/by-hand/{hand}/{name}",
                    )
                    ratio = ours / theirs
                    line = f"{title + ': ' + kind:24}{ours:12.0f}{theirs:12.0f}"
                    print(f"{line}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1] if len(sys.argv) > 1 else 256) * 1024**2)
