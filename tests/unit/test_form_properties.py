"""Bodies that nobody would write: the parser finds in them what Werkzeug finds."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.formparser import FormDataParser

from flask_store.uploads import multipart
from flask_store.uploads.multipart import FormParser
from tests.support.properties import examples
from tests.unit.test_form_parser import CONTENT
from tests.unit.test_form_parser import field_part
from tests.unit.test_form_parser import file_part
from tests.unit.test_form_parser import MARK
from tests.unit.test_form_parser import parsed
from tests.unit.test_form_parser import Pieces

#: Whole parts, and pieces of them in any order.
PIECES = [
    *CONTENT,
    *(
        MARK + b"--",
        MARK + b"\r\n",
        MARK + b"--\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b": ",
        b";",
    ),
    *(b"Content-Disposition: form-data", b'; name="a"', b'; filename="a"'),
    *(b"Content-Type: text/plain", b"; charset=latin-1", b"Content-Length: 3"),
    *(file_part(b"bytes"), field_part(b"text"), file_part(b""), file_part(b"\r", "")),
]
BODIES = st.lists(
    st.one_of(st.sampled_from(PIECES), st.binary(max_size=3)), max_size=16
).map(b"".join)


@given(
    BODIES,
    st.lists(st.integers(0, 400), max_size=8),
    st.booleans(),
    st.sampled_from([{}, {"max_form_parts": 2}, {"max_form_memory_size": 5}]),
)
@examples(120)
def test_finds_what_werkzeug_finds(
    body: bytes, cuts: list[int], ends: bool, limits: dict[str, int]
) -> None:
    """In any body, with any limit, wherever it is cut. An error is the same one."""
    if ends:
        body += b"\r\n" + MARK + b"--\r\n"
    cuts = [cut for cut in cuts if cut < len(body)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "SHORT", 1)
        found = parsed(FormParser, Pieces(body, cuts), **limits)
    assert found == parsed(FormDataParser, io.BytesIO(body), **limits)
