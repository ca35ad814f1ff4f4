"""What holds for every name, also for those that nobody thought of."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import assume
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from flask_store import naming
from flask_store.exceptions import InvalidName
from tests.support.properties import examples

#: What means something to some system, or is worth a byte too many.
PIECES = [
    *("..", ".", "/", "\\", ":", "%2e", "%", "\0", "\n", " ", "~", "-", "_", "C:"),
    *("con", "LPT1", ".jpg", ".tar.gz", naming.STAGING, "a", "\u00e9", "e\u0301"),
    *(
        "\u2024",
        "\uff0f",
        "\u202e",
        "\ud800",
        "\u200d",
        "\u0301",
        "\ufb01",
        "\U0001f600",
    ),
    *("x" * 60, "\u6c34" * 20),
]
#: Any character, lone surrogates included. Hypothesis needs a second to make its own
#: alphabets.
CHARACTERS = st.one_of(st.integers(0, 0x24F), st.integers(0, 0x10FFFF)).map(chr)
#: Any text, and any mixture of it with these pieces.
NAMES = st.one_of(
    st.lists(CHARACTERS, max_size=40).map("".join),
    st.lists(st.one_of(st.sampled_from(PIECES), CHARACTERS), max_size=8).map("".join),
)
#: What a system may make of a name.
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
ROOT = os.path.join(os.sep, "srv", "uploads")


@given(NAMES)
@examples(80)
@example("\u0344")
def test_clean_name_stays_as_it_is(name: str) -> None:
    """What has been cleaned is clean, and is a key."""
    cleaned = naming.clean(name)
    assert naming.clean(cleaned) == cleaned
    assert naming.check(cleaned) == cleaned
    assert naming.problem(cleaned) == ""


@given(NAMES)
@examples(80)
def test_clean_name_does_not_escape(name: str) -> None:
    """It is one component, in every form that a system may turn it into."""
    cleaned = naming.clean(name)
    assert 0 < len(cleaned.encode()) <= naming.MAX_NAME
    for form in FORMS:
        seen = unicodedata.normalize(form, cleaned)
        assert not set(seen) & set('/\\:*?"<>|\0'), form
        assert seen.strip(" .") and not seen.startswith((".", "-", "~")), form
        path = os.path.normpath(os.path.join(ROOT, seen))
        assert os.path.dirname(path) == ROOT, form


@given(NAMES, st.integers(200, naming.MAX_KEY), st.integers(0, 150))
@examples(60)
def test_clean_name_fits(name: str, limit: int, depth: int) -> None:
    """A key is no longer than the store allows, with the folder that it is in."""
    folder = "f" * depth
    extension = naming.split(naming.clean(name))[1]
    assume(len(extension) + depth + 10 < limit)
    key = naming.join(folder, naming.clean(name, folder, limit))
    assert len(key.encode()) <= limit


@given(NAMES, NAMES)
@examples(80)
def test_checked_key_does_not_escape(first: str, second: str) -> None:
    """A key is unchanged or refused. What is not refused is below the root."""
    for key in (first, f"{first}/{second}"):
        try:
            checked = naming.check(key)
        except InvalidName as error:
            assert str(error) and naming.problem(key)
            continue
        assert checked == key and naming.problem(key) == ""
        assert os.path.normpath(os.path.join(ROOT, key)) == os.path.join(ROOT, key)
        assert naming.STAGING not in naming.folded(key).split("/")


@given(NAMES, NAMES)
@examples(60)
def test_destination_does_not_escape(folder: str, base: str) -> None:
    """The folder of an upload is a clean one below that of the store, or is refused."""
    try:
        inside = naming.clean_destination(base)
        found = naming.clean_destination(folder, inside)
        again = naming.clean_destination(found)
    except InvalidName:
        return
    assert again == found
    assert found == inside or not inside or found.startswith(f"{inside}/")


@given(NAMES)
@examples(60)
def test_unique_name_is_another_one(name: str) -> None:
    """It is clean, it keeps the extension, and it leads back to its origin."""
    cleaned = naming.clean(name)
    found = {naming.unique(cleaned) for _ in range(3)}
    assert len(found) == 3 and cleaned not in found
    for other in found:
        assert naming.clean(other) == other
        assert naming.split(other)[1] == naming.split(cleaned)[1]
        assert len(other.encode()) <= naming.MAX_NAME
        if len(cleaned.encode()) <= naming.MAX_NAME - 23:
            assert naming.original(other) == cleaned
