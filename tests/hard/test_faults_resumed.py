"""Resumable uploads behind a proxy that spoils one request of theirs."""

from __future__ import annotations

import random
import typing as t

import pytest

from flask_store import direct
from flask_store.direct import resumable
from flask_store.exceptions import AlreadyConfirmed
from flask_store.exceptions import FileNotFound
from flask_store.exceptions import StoreError
from flask_store.stores.fsspec import FsspecStore
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_proxy import FAULTS
from tests.support.fault_trials import STORAGES
from tests.support.protocol_rows import new
from tests.support.resuming_worker import make_app
from tests.support.resuming_worker import provider
from tests.support.rounds import rounds
from tests.support.server_contract import started

# A library does not always close a connection that was reset under it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

#: How many requests are spoilt on each storage.
TRIALS = rounds(8)
#: How: nobody gets the request, or only the half of it, nobody gets the answer, or
#: another one than the server gave.
SPOILT = ("reset_before", "reset_in_request", "lost", "503", "500_after")
PARTS = (b"a" * 70_000, b"b" * 50_000, b"c" * 90_000)


class Story:
    """One upload, whose client goes on after an error.

    :param store: behind the proxy.
    """

    def __init__(self, store: FsspecStore) -> None:
        self.store = store
        self.form = store.presign_upload("a.bin", max_size=10**6)
        self.claim = direct.read(store, self.form.token)
        self.whole = b"".join(PARTS)

    def run(self) -> None:
        """Send everything, and confirm it."""

        self.insist(lambda: resumable.begin(self.store, self.claim, len(self.whole)))
        for part in PARTS:
            self.insist(lambda part=part: self.send(part))
        self.insist(self.look)
        self.insist(self.confirm)

    def insist(self, act: t.Callable[[], object]) -> None:
        """Do something, and once more if it fails."""
        try:
            act()
        except StoreError:
            act()

    def look(self) -> int:
        """Where the file ends."""
        return resumable.look(self.store, self.claim).offset

    def send(self, part: bytes) -> None:
        """Send a part, as far as it has not arrived."""
        end = self.whole.index(part) + len(part)
        offset = self.look()
        if offset < end:
            data = self.whole[offset:end]
            done = resumable.append(self.store, self.claim, offset, iter([data]))
            assert done.offset == end

    def confirm(self) -> None:
        """Confirm it, unless that was done."""
        try:
            self.store.confirm(self.form.token)
        except AlreadyConfirmed as exc:
            assert exc.file.key == self.form.key


# On WebDAV, the lock of a name may be lost, and is taken over after 32 seconds.
@pytest.mark.parametrize("name", ["s3", "azure", "google"])
def test_one_request_is_spoilt(name: str) -> None:
    """The client goes on, and the file has every byte once. Nothing is left but for
    what sweep removes."""
    with started(STORAGES[name].server) as place:
        with FaultProxy(f"http://127.0.0.1:{place.port}") as proxy:
            there = place.moved(proxy.port)
            app = make_app(new(there), there.options)
            with app.app_context():
                store = provider(app)
                Story(store).run()  # tries what the server can
                with proxy.armed(None) as plan:
                    Story(store).run()
                count = len(plan.seen)
                for _ in range(TRIALS):
                    fault, at = random.choice(SPOILT), random.randrange(count)
                    story = Story(store)
                    with proxy.armed(FAULTS[fault], at):
                        try:
                            story.run()
                        except Exception as exc:
                            exc.add_note(f"{fault}@{at}")
                            raise
                    assert store.read(story.form.key) == story.whole, f"{fault}@{at}"
                    with pytest.raises(FileNotFound):
                        story.look()
