"""Lists of extensions for ``STORE_ALLOW``, ``save(allow=...)`` and ``FileType``.

Add them to each other, or add extensions of your own::

    store.save(upload, allow=IMAGES + ("heic",))

No browser runs any of these formats as part of a page. So HTML, SVG, XML and scripts
are in none of the lists. Of the office formats of Microsoft, the lists have those that
cannot hold macros, and not ``.doc`` or ``.docm``.
"""

# allowed.py: whether a file is one of a list.
# contents.py: whether the beginning of a file agrees with an extension.
# documents.py, formats.py: formats of which a signature does not tell enough.

import typing as _t

#: Pictures that browsers show. HEIC, which phones make, is not one of them.
IMAGES: _t.Final = tuple("jpg jpeg jpe jfif png gif webp avif bmp".split())

#: Sound.
AUDIO: _t.Final = tuple("mp3 m4a aac ogg oga opus wav flac weba".split())

#: Films.
VIDEO: _t.Final = tuple("mp4 m4v mov webm ogv mkv avi mpg mpeg".split())

#: Text, tables and presentations. An OpenDocument may hold macros, which office
#: programs do not run unless the user allows it.
DOCUMENTS: _t.Final = tuple("pdf rtf odt ods odp docx xlsx pptx".split())

#: Plain text.
TEXT: _t.Final = ("txt",)

#: Data, as text. XML is not here, because a browser can run what is in it.
DATA: _t.Final = tuple("csv tsv json yaml yml toml ini".split())

#: Any file, also where :data:`STORE_ALLOW` says otherwise.
ALL: _t.Final = ("*",)

#: Archives and compressed files. Nobody looks at what is in them.
ARCHIVES: _t.Final = tuple("zip tar gz tgz bz2 xz txz 7z".split())
