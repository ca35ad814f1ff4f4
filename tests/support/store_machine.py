"""Random operations on a store, compared with what a dict would say.

The dict has the content of each file by its key. After every operation, the store has
the files of the dict and no others. The names are few, so that many of them are taken.
"""

from __future__ import annotations

import fnmatch
import io
import typing as t

from hypothesis import strategies as st
from hypothesis.stateful import invariant
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

from flask_store import naming
from flask_store.exceptions import FileExists
from flask_store.exceptions import FileNotFound
from flask_store.stores.fsspec import FsspecStore
from flask_store.testing import upload

from .properties import examples

FOLDERS = ["", "docs", "docs/deep", "docs.txt", "d\u00e9p\u00f4t"]
NAMES = ["a.txt", "b.txt", "a.tar.gz", "50%41 #[a]&+ b.txt", "\u6c34.txt", "noext"]
KEYS = [naming.join(folder, name) for folder in FOLDERS for name in NAMES]
PATTERNS = ["*", "**", "*.txt", "**/*.txt", "docs/*", "docs/**/a*", "d*/?.txt", "[!a]*"]
#: What an edge of a buffer or of a block lies in.
SIZES = [0, 1, 10, 1000, 70_000]

folders = st.sampled_from(FOLDERS)
keys = st.sampled_from(KEYS)
contents = st.builds(
    lambda size, seed: bytes((seed + 31 * i) % 251 for i in range(size)),
    st.sampled_from(SIZES),
    st.integers(0, 250),
)
conflicts = st.sampled_from(["rename", "error", "overwrite"])
bounds = st.one_of(st.none(), st.integers(-1100, 1100))


class Broken(io.RawIOBase):
    """An upload that breaks off after its first bytes."""

    def readable(self) -> bool:
        """It can be read, until it cannot."""
        return True

    def readinto(self, buffer: t.Any) -> int:
        """The first bytes, then an error."""
        if self.tell():
            raise ZeroDivisionError
        buffer[:5] = b"first"
        self._position = 5
        return 5

    def tell(self) -> int:
        """How much has been read."""
        return getattr(self, "_position", 0)


def below(folder: str, key: str) -> str | None:
    """The name of a key relative to a folder, or ``None`` if it is elsewhere."""
    if not folder:
        return key
    return key.removeprefix(f"{folder}/") if key.startswith(f"{folder}/") else None


def matches(pattern: list[str], parts: list[str]) -> bool:
    """Whether the parts of a name match those of a pattern."""
    if not pattern or not parts:
        return pattern == parts
    rest = pattern[1:]
    if pattern[0] == "**":
        # At the end it stands for the name as well.
        return not rest or matches(rest, parts) or matches(pattern, parts[1:])
    return fnmatch.fnmatchcase(parts[0], pattern[0]) and matches(rest, parts[1:])


class StoreMachine(RuleBasedStateMachine):
    """One store, which is empty at first, and the dict.

    :param store: a store whose names are exclusive.
    """

    def __init__(self, store: FsspecStore) -> None:
        super().__init__()
        self.store = store
        self.files: dict[str, bytes] = {}

    def stored(
        self,
        wanted: str,
        content: bytes,
        on_conflict: str,
        store: t.Callable[[], t.Any],
        gone: str | None = None,
    ) -> None:
        """Let the store have a file, and the dict where it says that it is.

        :param gone: the key that the file has no more.
        """
        if on_conflict == "error" and wanted in self.files:
            try:
                store()
            except FileExists:
                return
            raise AssertionError(f"{wanted!r} was taken")
        found = store()
        if on_conflict == "rename" and wanted in self.files:
            assert found.key not in self.files
            name = wanted.rpartition("/")[2]
            assert naming.original(found.key.rpartition("/")[2]) == name
        else:
            assert found.key == wanted
        if gone is not None:
            del self.files[gone]
        self.files[found.key] = content
        assert found.size == len(content)

    @rule(
        name=st.sampled_from(NAMES),
        folder=folders,
        content=contents,
        on_conflict=conflicts,
    )
    def save(self, name: str, folder: str, content: bytes, on_conflict: t.Any) -> None:
        """As a view stores an upload."""
        wanted = naming.join(folder, naming.clean(name))
        self.stored(
            wanted,
            content,
            on_conflict,
            lambda: self.store.save(
                upload(content, name), on_conflict=on_conflict, folder=folder
            ),
        )

    @rule(name=st.sampled_from(NAMES), folder=folders, on_conflict=conflicts)
    def break_off(self, name: str, folder: str, on_conflict: t.Any) -> None:
        """An upload that breaks off changes nothing."""
        try:
            self.store.save(Broken(), name, on_conflict, folder=folder)
        except ZeroDivisionError:
            return
        except FileExists:
            assert on_conflict == "error"
            return
        raise AssertionError("the error was lost")

    @rule(
        key=keys, content=contents, on_conflict=st.sampled_from(["error", "overwrite"])
    )
    def put(self, key: str, content: bytes, on_conflict: t.Any) -> None:
        """Under exactly this key."""
        self.stored(
            key,
            content,
            on_conflict,
            lambda: self.store.put(key, content, on_conflict),
        )

    @rule(key=keys, content=contents, on_conflict=conflicts)
    def create(self, key: str, content: bytes, on_conflict: t.Any) -> None:
        """In a block."""

        def write() -> t.Any:
            with self.store.create(key, on_conflict=on_conflict) as out:
                out.write(content)
            return out.file

        self.stored(key, content, on_conflict, write)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), to=keys, on_conflict=conflicts)
    def copy(self, data: st.DataObject, to: str, on_conflict: t.Any) -> None:
        """A file that is there."""
        source = data.draw(st.sampled_from(sorted(self.files)))
        self.stored(
            to,
            self.files[source],
            on_conflict,
            lambda: self.store.copy(source, to, on_conflict),
        )

    @precondition(lambda self: self.files)
    @rule(data=st.data(), to=keys, on_conflict=conflicts)
    def move(self, data: st.DataObject, to: str, on_conflict: t.Any) -> None:
        """A file that is there."""
        source = data.draw(st.sampled_from(sorted(self.files)))
        self.stored(
            to,
            self.files[source],
            on_conflict,
            lambda: self.store.move(source, to, on_conflict),
            gone=source,
        )

    @rule(key=keys)
    def delete(self, key: str) -> None:
        """One file, which is there or not."""
        there = self.files.pop(key, None) is not None
        try:
            self.store.delete(key)
        except FileNotFound:
            assert not there
        else:
            assert there

    @rule(some=st.sets(keys, min_size=2, max_size=6))
    def delete_some(self, some: set[str]) -> None:
        """Many files, of which some are not there."""
        self.store.delete(*sorted(some))
        for key in some:
            self.files.pop(key, None)

    @rule(folder=folders.filter(bool))
    def delete_folder(self, folder: str) -> None:
        """All that is in a folder."""
        inside = [key for key in self.files if below(folder, key) is not None]
        try:
            self.store.delete(folder, recursive=True)
        except FileNotFound:
            assert not inside
        else:
            assert inside
        for key in inside:
            del self.files[key]

    @rule(key=keys)
    def miss(self, key: str) -> None:
        """What is not there is an error, whatever is asked."""
        if key in self.files:
            return
        assert key not in self.store and not self.store.exists(key)
        target = "never.txt"
        for ask in (
            lambda: self.store.read(key),
            lambda: self.store.stat(key),
            lambda: self.store.open(key).read(),
            lambda: b"".join(self.store.stream(key)),
            lambda: self.store.copy(key, target),
            lambda: self.store.move(key, target),
        ):
            try:
                ask()
            except FileNotFound:
                continue
            raise AssertionError(f"{key!r} is not there")

    @precondition(lambda self: self.files)
    @rule(data=st.data(), start=bounds, stop=bounds)
    def read(self, data: st.DataObject, start: int | None, stop: int | None) -> None:
        """Every way to read a file gives the same bytes."""
        key = data.draw(st.sampled_from(sorted(self.files)))
        content = self.files[key]
        assert key in self.store
        assert self.store.read(key) == content
        assert self.store.stat(key).size == len(content)
        found = b"".join(self.store.stream(key, start or 0, stop))
        assert found == content[start or 0 : stop]
        with self.store.open(key) as file:
            position = min(abs(start or 0), len(content))
            assert file.seek(position) == position
            assert file.read(7) == content[position : position + 7]

    @rule(folder=folders)
    def list_folder(self, folder: str) -> None:
        """A folder has its files and its folders. A disk may keep empty folders."""
        names = {
            name
            for name in (below(folder, key) for key in self.files)
            if name is not None
        }
        everything = self.store.ls(folder)
        assert {below(folder, file.key) for file in everything} == names
        listing = self.store.ls(folder, recursive=False)
        found = {below(folder, file.key) for file in listing}
        assert found == {name for name in names if "/" not in name}
        inside = {name.partition("/")[0] for name in names if "/" in name}
        shown = {found.name.rstrip("/").rpartition("/")[2] for found in listing.folders}
        assert inside <= shown

    @rule(pattern=st.sampled_from(PATTERNS))
    def glob(self, pattern: str) -> None:
        """The files whose names match, and no others."""
        wanted = {
            key for key in self.files if matches(pattern.split("/"), key.split("/"))
        }
        assert {file.key for file in self.store.glob(pattern)} == wanted

    @invariant()
    def the_same_files(self) -> None:
        """The store has the files of the dict, in their sizes."""
        sizes = {key: len(content) for key, content in self.files.items()}
        assert {file.key: file.size for file in self.store.ls()} == sizes

    def teardown(self) -> None:
        """Every file still has its bytes."""
        for key, content in self.files.items():
            assert self.store.read(key) == content


def run(new: t.Callable[[], FsspecStore], usual: int, steps: int = 25) -> None:
    """Try random operations.

    :param new: makes an empty store.
    :param usual: how many stores are made.
    :param steps: how many operations each of them gets at most.
    """
    run_state_machine_as_test(
        lambda: StoreMachine(new()),
        settings=examples(usual, stateful_step_count=steps),
    )
