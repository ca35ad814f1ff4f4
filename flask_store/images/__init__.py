"""Pictures: variants in another size or format, sizes, and originals without metadata.

A variant is a stored file. It lies in a private folder that no key leads to and no
listing shows, and its name there says of which version of which file it is, and with
which parameters it was made. Nothing else needs to be known of it, by any process on
any host.

- ``spec.py``: the parameters of a variant, and how a URL spells them. Pure.
- ``variant.py``: :class:`Variant`, a value.
- ``variants.py``, ``turns.py``, ``versions.py``: where variants are stored, and how one
  comes there.
- ``serving.py``: their addresses at the application, and what these answer.
- ``making.py``, ``child.py``: one variant of one picture, made in a process of its own
  with limits of time and memory. Only that process imports Pillow.
- ``size.py``: the width and the height of a picture, from its header.
- ``strip.py``: a picture without its metadata.
"""

from .spec import Spec as Spec
from .variant import Variant as Variant

for _public in (Spec, Variant):
    _public.__module__ = __name__
