"""An rclone configuration, and the command that does what ``sync`` does."""

from __future__ import annotations

import shlex

import click

from .. import naming
from ..stores.fsspec import FsspecStore

#: How objects are stored, and who pays, by the names of botocore and of rclone.
OPTIONS = {
    "ACL": "acl",
    "RequestPayer": "requester_pays",
    "SSEKMSKeyId": "sse_kms_key_id",
    "ServerSideEncryption": "server_side_encryption",
    "StorageClass": "storage_class",
}


def rclone(
    source: FsspecStore, target: FsspecStore, *, overwrite: bool, delete: bool
) -> str:
    """rclone's configuration without secrets, and the command as a comment.

    :raises click.ClickException: if a store is neither on disk nor in S3.
    """
    remotes = {"source": source, "target": target}
    lines = [
        line
        for name, store in remotes.items()
        for line in [f"[{name}]", *_remote(name, store), ""]
    ]
    words = [
        "rclone",
        "sync" if delete else "copy",
        *(_path(name, store) for name, store in remotes.items()),
        "--checksum",
        # Unfinished uploads are not files of the store.
        "--exclude",
        f"{naming.STAGING}/**",
    ]
    if not overwrite:
        words.append("--immutable")
    lines.append("# Put the above into a file named rclone.conf, then call:")
    lines.append(f"# {shlex.join(words)} --config rclone.conf")
    return "\n".join(lines)


def _remote(name: str, store: FsspecStore) -> list[str]:
    protocol = store.dialect.location.protocol
    if protocol == "file":
        return ["type = local"]
    if protocol != "s3":
        raise click.ClickException(
            f"--print-rclone knows disks and S3, not {protocol!r}. See 'rclone config'."
        )
    options = store.dialect.location.options
    region = options.get("client_kwargs", {}).get("region_name")
    endpoint = options.get("endpoint_url")
    lines = ["type = s3", f"provider = {'Other' if endpoint else 'AWS'}"]
    lines += [f"endpoint = {endpoint}"] if endpoint else []
    lines += [f"region = {region}"] if region else []
    stored_with = options.get("s3_additional_kwargs", {})
    lines += [
        f"{OPTIONS[name]} = {'true' if name == 'RequestPayer' else value}"
        for name, value in stored_with.items()
        if name in OPTIONS
    ]
    # Do not make the bucket, nor look for it: the keys may not have the permission.
    lines += ["env_auth = true", "no_check_bucket = true"]
    prefix = f"RCLONE_CONFIG_{name.upper()}"
    note = f"# The keys: {prefix}_ACCESS_KEY_ID and {prefix}_SECRET_ACCESS_KEY in the"
    notes = [note, "# environment, or those that the AWS tools use."]
    if others := sorted(stored_with.keys() - OPTIONS.keys()):
        notes.append(f"# rclone has no option for: {', '.join(others)}.")
    return [*notes, *lines]


def _path(name: str, store: FsspecStore) -> str:
    return f"{name}:{naming.join(store.dialect.root, store.destination)}"
