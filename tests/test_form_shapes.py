"""Forms of odd shapes cost no more than with Werkzeug's parser, and say the same."""

from __future__ import annotations

import pytest
from werkzeug.formparser import FormDataParser

from benchmarks.shapes import KIB
from benchmarks.shapes import seconds_of
from benchmarks.shapes import Shape
from benchmarks.shapes import SHAPES
from benchmarks.shapes import WHOLE
from flask_store.forms import FormParser

#: How many bytes a read returns, and how long the form is then: a parser that looks at
#: everything again with each read takes a hundred times as long as one that does not.
READS = {1: 12 * KIB, 7: 60 * KIB, 60: 400 * KIB, 1460: 1024 * KIB, WHOLE: 1024 * KIB}
#: How many times as long as Werkzeug's our parser may take. It is less than twice, as
#: benchmarks/shapes.py measures; here other tests run at the same time.
SLOWER = 6
#: What a form may take in any case.
MOMENT = 0.02


def slower(shape: Shape, body: bytes, most: int) -> float:
    """How many times as long our parser takes, in the best of a few tries."""
    best = {FormDataParser: 1e9, FormParser: 1e9}
    for _ in range(3):
        for parser in best:
            taken = seconds_of(parser, shape, body, most)
            best[parser] = min(best[parser], taken)
        if best[FormParser] < SLOWER / 2 * best[FormDataParser] + MOMENT:
            break
    return best[FormParser] / (best[FormDataParser] + MOMENT)


@pytest.mark.parametrize("name", SHAPES)
def test_takes_no_longer_than_werkzeug(name: str) -> None:
    """However little a server hands over at a time."""
    shape = SHAPES[name]
    for most, size in READS.items():
        ratio = slower(shape, shape.body(size), most)
        assert ratio < SLOWER, (most, ratio)
