"""``arrow://``: an upload gets its name by a rename, which refuses a taken one."""

from __future__ import annotations

from flask_store.dialects.renamed import StagedDialect


class ArrowDialect(StagedDialect):
    """pyarrow's local filesystem, with the rename of HDFS."""

    def rename(self, old: str, new: str) -> None:
        self.fs.rename(old, new)

    def rename_over(self, old: str, new: str) -> None:
        self.fs.rename(old, new, overwrite=True)
