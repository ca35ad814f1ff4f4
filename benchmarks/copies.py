"""Files of S3 that are copied and moved within their bucket: requests and bytes.

``python -m benchmarks.copies``, from the project's folder. All contenders copy the same
object of SeaweedFS through a proxy that counts, with connections that are open already.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable
from collections.abc import Sequence

from flask_store.stores.s3 import S3Store
from tests.support.proxy import Proxy
from tests.support.servers import seaweedfs

from .measure import arguments
from .measure import MB
from .measure import parsed
from .measure import Table
from .s3 import bucket
from .s3_contenders import client
from .s3_contenders import s3_filesystem
from .s3_contenders import Settings

#: The bytes of the file.
SIZE = 16 * MB
QUICK = MB

#: Copies or moves the object of the first name to the second one.
Verb = Callable[[str, str], object]


def contenders(settings: Settings) -> dict[str, Verb]:
    """Those who copy and move. Only Flask-Store refuses a name that is taken; fsspec
    and django-storages have no word for a move that S3 knows."""
    boto3, name = client(settings), settings["STORE_S3_BUCKET"]
    fs = s3_filesystem(settings)
    store = S3Store.from_config(settings)

    def copy_object(old: str, new: str) -> None:
        boto3.copy_object(Bucket=name, Key=new, CopySource=f"{name}/{old}")

    def managed(old: str, new: str) -> None:
        boto3.copy({"Bucket": name, "Key": old}, name, new)

    def managed_move(old: str, new: str) -> None:
        managed(old, new)
        boto3.delete_object(Bucket=name, Key=old)

    def through(old: str, new: str) -> None:
        body = boto3.get_object(Bucket=name, Key=old)["Body"].read()
        boto3.upload_fileobj(io.BytesIO(body), name, new)

    return {
        "boto3 copy_object, which replaces": copy_object,
        "boto3 copy, which replaces": managed,
        "s3fs copy, which replaces": lambda old, new: fs.copy(
            f"{name}/{old}", f"{name}/{new}"
        ),
        "boto3 get_object and upload_fileobj": through,
        "Flask-Store copy": store.copy,
        "boto3 copy and delete_object": managed_move,
        "s3fs mv, which replaces": lambda old, new: fs.mv(
            f"{name}/{old}", f"{name}/{new}"
        ),
        "Flask-Store move": store.move,
    }


def main(args: Sequence[str] | None = None) -> None:
    """Print the table."""
    asked = parsed(arguments(__doc__), args)
    data = os.urandom(QUICK if asked.quick else SIZE)
    numbers = itertools.count()
    table = Table(
        f"A file of {len(data) // MB} MB within a bucket",
        "contender",
        "requests",
        "bytes of bodies",
    )
    with seaweedfs() as server, Proxy(server.endpoint_url) as proxy:
        with bucket(server, proxy.endpoint_url) as settings:
            put = server.client().put_object
            for label, verb in contenders(settings).items():
                for _ in range(2):
                    old, new = (f"{next(numbers)}.bin" for _ in range(2))
                    put(Bucket=settings["STORE_S3_BUCKET"], Key=old, Body=data)
                    del proxy.requests[:]
                    verb(old, new)
                moved = sum(one.sent + one.received for one in proxy.requests)
                table.add(label, str(len(proxy.requests)), f"{moved:,}")
    table.show()


if __name__ == "__main__":
    main()
