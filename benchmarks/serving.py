"""How fast the route is: against what one would write by hand, side by side in one run.

Run ``python -m benchmarks.serving [kB ...]`` from the project's folder; by default with
files of 10 kB, 10 MB and 1 GB. The route and what is written by hand are views of one
application in one gunicorn, and nginx has the same folder. They take turns, and each
figure is the median of several rounds. A ratio above 1 means that the route is the
faster one.
"""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import typing as t

from flask import Flask
from flask import Response
from flask import send_from_directory

from flask_store import Store
from tests.support.nginx_and_chromium import nginx
from tests.support.nginx_and_chromium import proxied
from tests.support.servers import gunicorn
from tests.support.servers import seaweedfs

ROUNDS = 7
SIZES = [10_000, 10_000_000, 1_000_000_000]
#: Per round and side; large files are fetched once, small ones often.
BYTES, MOST_REQUESTS = 50_000_000, 200

NGINX = "location /files/ {{ alias {folder}/; }}"


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
        endpoint_url=config["BUCKET_STORE_S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=config["BUCKET_STORE_S3_ACCESS_KEY"],
        aws_secret_access_key=config["BUCKET_STORE_S3_SECRET_KEY"],
    )

    @app.get("/by-hand/local/<path:name>")
    def local(name: str) -> Response:
        return send_from_directory(config["STORE_PATH"], name)

    @app.get("/by-hand/s3/<path:name>")
    def s3(name: str) -> Response:
        found = client.get_object(Bucket=config["BUCKET_STORE_S3_BUCKET"], Key=name)
        response = Response(
            found["Body"].iter_chunks(1024 * 1024), mimetype=found["ContentType"]
        )
        response.content_length = found["ContentLength"]
        return response

    @app.get("/")
    def ready() -> str:
        return ""

    return app


def prepare(config: dict[str, t.Any], folder: str, sizes: list[int]) -> None:
    """A file of each size in both stores."""
    app = Flask(__name__)
    app.config.update(config)
    stores = Store(app), Store(app, name="bucket")
    path = pathlib.Path(folder, "source.bin")
    block = os.urandom(1_000_000)
    with app.app_context():
        for size in sizes:
            with path.open("wb") as file:
                for start in range(0, size, len(block)):
                    file.write(block[: size - start])
            for store in stores:
                store.Provider().save(path, filename=f"{size}.bin")
    path.unlink()


class Side:
    """One of the two that are compared: a place on a server, by one connection."""

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        self.connection = http.client.HTTPConnection(url.partition("//")[2], timeout=99)

    def seconds(self, size: int, times: int) -> float:
        """How long the downloads of one file take, one after the other."""
        buffer, started = bytearray(1024 * 1024), time.perf_counter()
        for _ in range(times):
            self.connection.request("GET", f"{self.prefix}/{size}.bin")
            reply, total = self.connection.getresponse(), 0
            while count := reply.readinto(buffer):
                total += count
            assert (reply.status, total) == (200, size), (reply.status, total)
        return time.perf_counter() - started


def compare(ours: Side, theirs: Side, size: int) -> tuple[float, float]:
    """The medians of both sides, which take turns, in requests per second."""
    times = max(1, min(MOST_REQUESTS, BYTES // size))
    figures: tuple[list[float], list[float]] = [], []
    for number in range(ROUNDS + 1):
        for found, side in zip(figures, (ours, theirs), strict=True):
            rate = times / side.seconds(size, times)
            if number:  # the first round warms up
                found.append(rate)
    return statistics.median(figures[0]), statistics.median(figures[1])


def main(sizes: list[int]) -> None:
    """Print one line for each comparison."""
    with tempfile.TemporaryDirectory() as folder, seaweedfs() as server:
        config = {
            "STORE_PATH": f"{folder}/uploads",
            "BUCKET_STORE_PROVIDER": "flask_store.stores.s3.S3Store",
            "BUCKET_STORE_PATH": "",
            "BUCKET_STORE_SERVE": "proxy",
            "BUCKET_STORE_S3_ENDPOINT_URL": server.endpoint_url,
            "BUCKET_STORE_S3_REGION": "us-east-1",
            "BUCKET_STORE_S3_BUCKET": server.make_bucket(),
            "BUCKET_STORE_S3_ACCESS_KEY": server.access_key,
            "BUCKET_STORE_S3_SECRET_KEY": server.secret_key,
        }
        prepare(config, folder, sizes)
        env = {"BENCHMARK": json.dumps(config)}
        args = ["--worker-class=gthread", "--threads=8", "--keep-alive=200"]
        with (
            gunicorn("benchmarks.serving:create_app()", *args, env=env) as running,
            nginx(
                proxied(running.url), NGINX.format(folder=config["STORE_PATH"])
            ) as front,
        ):
            print(f"{'requests/s':32}{'the route':>12}{'the other':>12}{'ratio':>8}")
            for title, ours, theirs in [
                (
                    "local, send_from_directory",
                    (running.url, "/flaskstore"),
                    (running.url, "/by-hand/local"),
                ),
                ("local, nginx", (running.url, "/flaskstore"), (front, "/files")),
                (
                    "S3, boto3's get_object",
                    (running.url, "/flaskstore-bucket"),
                    (running.url, "/by-hand/s3"),
                ),
            ]:
                for size in sizes:
                    rates = compare(Side(*ours), Side(*theirs), size)
                    ratio = rates[0] / rates[1]
                    line = f"{title + f': {size // 1000} kB':36}{rates[0]:8.1f}"
                    print(f"{line}{rates[1]:12.1f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main([int(text) * 1000 for text in sys.argv[1:]] or SIZES)
