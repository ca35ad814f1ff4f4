"""pyarrow's local filesystem, with the rename of HDFS."""

from __future__ import annotations

import os
import typing as t

from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import LocalFileSystem


class ArrowFileSystem(ArrowFSWrapper):
    """For fsspec, as ``arrow:///folder``."""

    protocol = "arrow"

    def __init__(self, **options: t.Any) -> None:
        super().__init__(LocalFileSystem(), **options)

    def rename(self, path1: str, path2: str, overwrite: bool = False) -> None:
        """Rename in one step, as ``FileContext.rename`` of Hadoop does.

        :raises FileExistsError: if the new name is taken, without *overwrite*.
        """
        if overwrite:
            self.mv(path1, path2)
        else:
            os.link(path1, path2)
            os.unlink(path1)

    def rmdir(self, path: str) -> None:
        """Remove a folder that is empty; pyarrow's own would remove a full one."""
        os.rmdir(path)
