"""How each library puts a file into a bucket: what the S3 benchmarks let run.

Every contender is made from the settings ``STORE_S3_...`` and is then called with an
open binary file and a key. ``python -m benchmarks.s3_contenders LABEL SETTINGS SIZE``
prints by how many bytes the memory of a fresh process grew during one such call.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import typing as t
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.support.memory_peak import reset_peak
from tests.support.memory_peak import resident
from tests.support.memory_peak import sparse_file

Settings = dict[str, t.Any]
Put = Callable[[t.IO[bytes], str], object]

BASE = "boto3 upload_fileobj"
FLOOR = "bare PUT, signed"
OURS = "Flask-Store"


def client(settings: Settings) -> t.Any:
    """A client of boto3, as its documentation makes one."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=settings["STORE_S3_ENDPOINT_URL"],
        region_name=settings["STORE_S3_REGION"],
        aws_access_key_id=settings["STORE_S3_ACCESS_KEY"],
        aws_secret_access_key=settings["STORE_S3_SECRET_KEY"],
    )


def s3_filesystem(settings: Settings) -> t.Any:
    """A filesystem of s3fs that keeps no listings."""
    import s3fs

    return s3fs.S3FileSystem(
        endpoint_url=settings["STORE_S3_ENDPOINT_URL"],
        key=settings["STORE_S3_ACCESS_KEY"],
        secret=settings["STORE_S3_SECRET_KEY"],
        client_kwargs={"region_name": settings["STORE_S3_REGION"]},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def boto3_upload(settings: Settings) -> Put:
    """What most applications call. It takes a name whether it is free or not."""
    s3, bucket = client(settings), settings["STORE_S3_BUCKET"]
    return lambda file, key: s3.upload_fileobj(file, bucket, key)


def boto3_conditional(settings: Settings) -> Put:
    """One PUT that takes only a free name."""
    s3, bucket = client(settings), settings["STORE_S3_BUCKET"]
    return lambda file, key: s3.put_object(
        Bucket=bucket, Key=key, Body=file, IfNoneMatch="*"
    )


def django_storages(settings: Settings) -> Put:
    """django-storages' S3Storage; by default it overwrites."""
    from django.conf import settings as django_settings
    from django.core.files import File

    if not django_settings.configured:
        django_settings.configure()
    from storages.backends.s3 import S3Storage

    storage = S3Storage(
        endpoint_url=settings["STORE_S3_ENDPOINT_URL"],
        region_name=settings["STORE_S3_REGION"],
        access_key=settings["STORE_S3_ACCESS_KEY"],
        secret_key=settings["STORE_S3_SECRET_KEY"],
        bucket_name=settings["STORE_S3_BUCKET"],
    )
    return lambda file, key: storage.save(key, File(file, key))


def flask_storage(settings: Settings) -> Put:
    """flask-storage's backend; asking whether the name is free is left out."""
    from flask_storage.backends.s3 import S3Backend
    from flask_storage.storage import Config

    config = Config(
        {
            "endpoint": settings["STORE_S3_ENDPOINT_URL"],
            "region": settings["STORE_S3_REGION"],
            "access_key": settings["STORE_S3_ACCESS_KEY"],
            "secret_key": settings["STORE_S3_SECRET_KEY"],
        }
    )
    return S3Backend(settings["STORE_S3_BUCKET"], config).save


def flask_store(settings: Settings) -> Put:
    """Flask-Store, which takes only a free name."""
    from flask_store.stores.s3 import S3Store

    store = S3Store.from_config(settings)
    return lambda file, key: store.save(file, key)


def _obstore(settings: Settings) -> t.Any:
    from obstore.store import S3Store

    return S3Store(
        settings["STORE_S3_BUCKET"],
        endpoint=settings["STORE_S3_ENDPOINT_URL"],
        region=settings["STORE_S3_REGION"],
        access_key_id=settings["STORE_S3_ACCESS_KEY"],
        secret_access_key=settings["STORE_S3_SECRET_KEY"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def obstore_put(settings: Settings) -> Put:
    """obstore, in parts from 5 MiB."""
    import obstore

    store = _obstore(settings)
    return lambda file, key: obstore.put(store, key, file)


def obstore_create(settings: Settings) -> Put:
    """obstore's create mode: one PUT from memory that takes only a free name."""
    import obstore

    store = _obstore(settings)
    return lambda file, key: obstore.put(store, key, file, mode="create")


def s3fs_put(settings: Settings) -> Put:
    """s3fs, which wants a path."""
    fs, bucket = s3_filesystem(settings), settings["STORE_S3_BUCKET"]
    return lambda file, key: fs.put_file(_path(file), f"{bucket}/{key}")


def bare_put(settings: Settings) -> Put:
    """The floor: a signed request on an open socket, and a look at its status."""
    from flask_store.dialects.s3 import signing

    parts = urlsplit(settings["STORE_S3_ENDPOINT_URL"])
    keys = signing.Keys(
        settings["STORE_S3_ACCESS_KEY"], settings["STORE_S3_SECRET_KEY"]
    )
    assert parts.hostname and parts.port
    sock = socket.create_connection((parts.hostname, parts.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def put(file: t.IO[bytes], key: str) -> None:
        digest = hashlib.file_digest(t.cast("t.BinaryIO", file), "sha256").hexdigest()
        url = f"{parts.scheme}://{parts.netloc}/{settings['STORE_S3_BUCKET']}/{key}"
        said = {"If-None-Match": "*", "Content-Length": str(file.tell())}
        region = settings["STORE_S3_REGION"]
        said = signing.headers("PUT", url, keys, region, said, digest)
        lines = [f"PUT {urlsplit(url).path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in said.items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        sock.sendfile(file, 0)
        answer = sock.recv(64 * 1024)  # small enough for one packet
        assert answer.startswith(b"HTTP/1.1 200 ") and b"\r\n\r\n" in answer, answer

    return put


def _path(file: t.IO[bytes]) -> str:
    # That of a temporary file is its number.
    return file.name if isinstance(file.name, str) else f"/proc/self/fd/{file.name}"


CONTENDERS: dict[str, Callable[[Settings], Put]] = {
    BASE: boto3_upload,
    "boto3 put_object, conditional": boto3_conditional,
    "django-storages": django_storages,
    "flask-storage": flask_storage,
    "obstore put": obstore_put,
    "obstore put, create": obstore_create,
    "s3fs put_file": s3fs_put,
    OURS: flask_store,
    FLOOR: bare_put,
}


def growth(put: Put, size: int) -> int:
    """By how many bytes the peak of this process's memory grows during one call."""
    # Imports, threads and connections belong to the process, not to the file.
    with sparse_file(16 * 1024**2) as file:
        put(file, "warm.bin")
    with sparse_file(size) as file:
        before = reset_peak()
        put(file, "large.bin")
        return resident("VmHWM") - before


if __name__ == "__main__":
    label, settings, size = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    print(growth(CONTENDERS[label](settings), size))
