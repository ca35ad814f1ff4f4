"""TLS in front of a server that speaks plainly, with a certificate made on the spot."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import pathlib
import ssl
import threading
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(
    folder: pathlib.Path, name: str = "localhost", days: int = 1
) -> pathlib.Path:
    """A certificate that signs itself, with its key, in one file.

    :param name: of the host that it is for.
    :param days: for which it is valid still; less than 0 if it has expired.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.{days}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextlib.contextmanager
def in_front_of(port: int, certificate: pathlib.Path) -> t.Iterator[str]:
    """The ``https://`` address of what answers on *port*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncio.start_server(
            lambda reader, writer: _serve(reader, writer, port),
            "127.0.0.1",
            0,
            ssl=context,
        )
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
) -> None:
    onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        # A connection that is still open at the end is let go without a word.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                _pump(reader, onward_writer), _pump(onward_reader, writer)
            )
    finally:
        onward_writer.close()
        writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    # One side's end is the other's: what is sent here are whole requests and replies.
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await source.read(64 * 1024):
            target.write(data)
            await target.drain()
    target.close()
