"""The power is cut at every write to a disk: no name shows before its whole content.

The disk is recorded; see ``recorded_disk``. What it has taken since its last flush may
be there after the cut in any combination. So each of them is mounted that a cut could
leave: none, all, all but one, one alone, and some at random.

Between the system calls of a save, somebody else syncs another file, and with it the
journal: so a name gets there as early as it can.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from flask_store.stores.local import LocalStore
from flask_store.uploads import disk
from tests.conftest import missing
from tests.support.recorded_disk import Recorded
from tests.support.recorded_disk import recorded_disk
from tests.support.recorded_disk import writes
from tests.support.rounds import rounds
from tests.support.rounds import TIMES

SIZE = 16 * 1024**2
#: Filesystems, by how they are made and mounted.
EXT4 = ["mkfs.ext4", "-q", "-F", "-b", "4096"]
FILESYSTEMS: dict[str, tuple[list[str], str]] = {
    "ext4": (EXT4, ""),
    "ext4, dioread_lock": (EXT4, "dioread_lock"),
    "ext4, inline data": ([*EXT4, "-O", "inline_data", "-I", "1024"], ""),
    "ext4, 1 KiB blocks": ([*EXT4[:3], "-b", "1024"], ""),
    "ext4, no checksums": ([*EXT4, "-O", "^metadata_csum,^64bit"], ""),
    "ext4, bigalloc": ([*EXT4, "-O", "bigalloc"], ""),
}
#: Those that are not believed to be ordered.
OTHERS: dict[str, tuple[list[str], str]] = {
    "ext4 without a journal": ([*EXT4, "-O", "^has_journal"], ""),
    "ext4, fast commits": ([*EXT4, "-O", "fast_commit"], ""),
    "ext4, data=writeback": (EXT4, "data=writeback"),
    "ext4, data=journal": (EXT4, "data=journal"),
    "ext4, nobarrier": (EXT4, "nobarrier"),
    "ext4, nodelalloc": (EXT4, "nodelalloc"),
    "ext3": (["mkfs.ext3", "-q", "-F", "-b", "4096"], ""),
    "ext2": (["mkfs.ext2", "-q", "-F", "-b", "4096"], ""),
}
#: The bytes of each file by its name.
CONTENT = {
    "empty.bin": b"",
    "tiny.bin": b"tiny" * 10,
    "small.bin": os.urandom(1000),
    "large.bin": os.urandom(300 * 1000),
    "deep/in/folders.bin": os.urandom(5000),
}
OLD, NEW = os.urandom(3000), os.urandom(6000)


def save(store: LocalStore, name: str) -> None:
    """Store a file."""
    store.put(name, CONTENT[name])


def overwrite(store: LocalStore, name: str) -> None:
    """Store a file in place of another one."""
    store.put(name, NEW, "overwrite")


ACTIONS: dict[str, Callable[[LocalStore, str], None]] = {
    **dict.fromkeys(CONTENT, save),
    "old.bin": overwrite,
}


@contextlib.contextmanager
def mounted(image: pathlib.Path, folder: pathlib.Path, options: str) -> Iterator[None]:
    """Mount an image by a loop device."""
    options = f"loop,{options}" if options else "loop"
    done = subprocess.run(
        ["mount", "-o", options, image, folder], capture_output=True, text=True
    )
    if done.returncode:
        missing(f"a loop device to mount ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


class Saved(t.NamedTuple):
    """What an action has written to a disk.

    :param before: the disk before it.
    :param record: what was written since.
    :param answered: where the record was when the action returned.
    """

    before: bytes
    record: bytes
    answered: int


def recorded(
    recording: Recorded,
    name: str,
    root: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    alone: bool,
) -> Saved:
    """Do an action; unless it is alone, somebody else syncs after each of its system
    calls."""
    store = LocalStore.from_config({"STORE_PATH": str(root)})
    store.put("warm.bin", b"warm")
    other = os.open(root.parent / "other", os.O_WRONLY | os.O_CREAT)
    fsync, sizes = os.fsync, itertools.count(1)

    def sync_other() -> None:
        # The journal is only written for what has changed in it.
        os.ftruncate(other, next(sizes))
        fsync(other)

    def followed(call: Callable[..., t.Any]) -> Callable[..., t.Any]:
        def follow(*args: t.Any, **kwargs: t.Any) -> t.Any:
            result = call(*args, **kwargs)
            if not alone:
                sync_other()
            return result

        return follow

    subprocess.run(["sync", "-f", root], check=True)
    start = recording.end
    with monkeypatch.context() as patch:
        for call in ("write", "fsync", "link", "replace", "mkdir"):
            patch.setattr(os, call, followed(getattr(os, call)))
        patch.setattr(disk, "push", followed(disk.push))
        ACTIONS[name](store, name)
    answered = recording.end
    # What is written later may not take it back.
    sync_other()
    os.close(other)
    record = recording.record.read_bytes()
    before = bytearray(SIZE)
    for _, place, data in writes(record[:start]):
        before[place : place + len(data)] = data
    return Saved(bytes(before), record[start:], answered - start)


def cuts(saved: Saved, chance: random.Random) -> Iterator[tuple[bytes, bool]]:
    """Disks that a cut could leave, and whether the action had returned.

    There are as many as time is for. With FLASK_STORE_ROUNDS=10 there are all.
    """
    safe = bytearray(saved.before)
    entries = writes(saved.record)
    share = rounds(60) / (3 * len(entries))
    pending: list[tuple[int, bytes]] = []
    seen: set[tuple[frozenset[int], bool]] = set()
    for position, place, data in entries:
        if not data:
            for start, block in pending:
                safe[start : start + len(block)] = block
            pending, seen = [], set()
            continue
        pending.append((place, data))
        count, answered = len(pending), position > saved.answered
        every, one = frozenset(range(count)), frozenset([chance.randrange(count)])
        some = frozenset(n for n in every if chance.random() < 0.5)
        last = frozenset([count - 1])
        kept = {(ns, answered) for ns in (frozenset(), every, every - one, last, some)}
        for numbers, _ in kept - seen:
            if chance.random() > share:
                continue
            image = bytearray(safe)
            for number in sorted(numbers):
                start, block = pending[number]
                image[start : start + len(block)] = block
            yield bytes(image), answered
        seen |= kept


def wrong(name: str, there: dict[str, bytes], answered: bool) -> str | None:
    """What is wrong with the files after a cut."""
    content = there.get(name)
    if ACTIONS[name] is overwrite:
        allowed = {NEW} if answered else {OLD, NEW}
        return None if content in allowed else f"{name} is neither old nor new"
    if content is None:
        return f"{name} was stored, and is gone" if answered else None
    if content != CONTENT[name]:
        return f"{name} has {len(content)} bytes of {len(CONTENT[name])}"
    return None


def tried(
    filesystem: tuple[list[str], str],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    alone: bool = False,
) -> tuple[int, list[str]]:
    """Cut the power everywhere in an action: how often, and what was wrong.

    :param alone: whether nobody else syncs meanwhile.
    """
    make, options = filesystem
    if os.geteuid() != 0 or shutil.which(make[0]) is None:
        missing("root, who may mount an image, and e2fsprogs")
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as path:
        folder = pathlib.Path(path)
        (folder / "mounted").mkdir()
        root = folder / "mounted" / "store"
        with recorded_disk(folder, SIZE) as recording:
            subprocess.run([*make, recording.path], check=True, capture_output=True)
            with mounted(recording.path, folder / "mounted", options):
                assert disk.is_ordered(str(root.parent))
                LocalStore.from_config({"STORE_PATH": str(root)}).put("old.bin", OLD)
                saved = recorded(recording, name, root, monkeypatch, alone)
        count, problems = 0, []
        image = folder / "image"
        for data, answered in cuts(saved, random.Random(name)):
            image.write_bytes(data)
            with mounted(image, folder / "mounted", options):
                there = {
                    str(file.relative_to(root)): file.read_bytes()
                    for file in root.rglob("*.bin")
                }
            count += 1
            problem = wrong(name, there, answered)
            if problem:
                problems.append(problem)
    return count, problems


#: Each of the names on the default, and two of them on the others.
CASES = [
    (filesystem, name)
    for filesystem in FILESYSTEMS
    for name in ACTIONS
    if TIMES > 1 or filesystem == "ext4" or name in ("small.bin", "old.bin")
]


@pytest.mark.parametrize(("filesystem", "name"), CASES)
def test_no_name_before_its_content(
    filesystem: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    figures: Callable[[str], None],
) -> None:
    """A name shows its whole content or is not there; when it was answered, it is."""
    total = 0
    for alone in (False, True):
        count, problems = tried(FILESYSTEMS[filesystem], name, monkeypatch, alone)
        assert problems == []
        total += count
    figures(f"cuts of the power, {filesystem}, {name}: {total}")
    assert total >= rounds(10)


@pytest.mark.parametrize("filesystem", OTHERS)
def test_of_others_nothing_is_believed(tmp_path: pathlib.Path, filesystem: str) -> None:
    """Whatever has not been tried, or does not keep it, is synced before the name."""
    make, options = OTHERS[filesystem]
    if os.geteuid() != 0 or shutil.which(make[0]) is None:
        missing("root, who may mount an image, and e2fsprogs")
    image, folder = tmp_path / "image", tmp_path / "mounted"
    image.write_bytes(bytes(SIZE))
    subprocess.run([*make, image], check=True, capture_output=True)
    folder.mkdir()
    with mounted(image, folder, options):
        assert not disk.is_ordered(str(folder))


def test_what_is_not_pushed_is_seen_to_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the push a name shows before its content, and this test would see it."""
    monkeypatch.setattr(disk, "push", lambda number: None)
    _, problems = tried(FILESYSTEMS["ext4"], "small.bin", monkeypatch)
    assert "small.bin has 0 bytes of 1000" in problems


def test_what_is_not_synced_is_seen_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sync after the name it is gone, and this test would see it."""

    def link(self: disk.Unnamed, path: str, folder: int | None = None) -> None:
        self._synced = False
        real(self, path, folder)

    real = disk.Unnamed.link
    monkeypatch.setattr(disk.Unnamed, "link", link)
    _, problems = tried(FILESYSTEMS["ext4"], "small.bin", monkeypatch, alone=True)
    assert "small.bin was stored, and is gone" in problems
