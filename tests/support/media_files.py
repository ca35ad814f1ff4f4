"""Small files of real formats, made with ffmpeg: red, 16 pixels wide and high."""

from __future__ import annotations

import base64
import struct

JPEG = base64.b64decode("""
/9j/4AAQSkZJRgABAgAAAQABAAD//gAQTGF2YzU5LjM3LjEwMAD/2wBDAAg+Pkk+SVVVVVVVVWRdZGhoaGRk
ZGRoaGhwcHCDg4NwcHBoaHBwfHyDg4+Tj4eHg4eTk5ubm7q6srLZ2eD/////xABMAAEBAAAAAAAAAAAAAAAA
AAAABgEBAQAAAAAAAAAAAAAAAAAABgcQAQAAAAAAAAAAAAAAAAAAAAARAQAAAAAAAAAAAAAAAAAAAAD/wAAR
CAAQABADASIAAhEAAxEA/9oADAMBAAIRAxEAPwCLAFF/f//Z
""")

#: VP8 in WebM, 20 seconds of one frame each.
WEBM = base64.b64decode("""
GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQJChYECGFOAZwEAAAAAAAXuEU2bdLpNu4tTq4QVSalm
U6yBoU27i1OrhBZUrmtTrIHYTbuMU6uEElTDZ1OsggEeTbuMU6uEHFO7a1OsggWi7AEAAAAAAABZAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAVSalmsirXsYMPQkBNgI1MYXZmNTkuMjcuMTAwV0GNTGF2ZjU5LjI3LjEw
MESJiEDTiAAAAAAAFlSua8GuAQAAAAAAADjXgQFzxYiTg3UyLK0IjJyBACK1nIN1bmSIgQCGhVZfVlA4g4EB
I+ODhDuaygDgibCBELqBEJqBAhJUw2f9c3OgY8CAZ8iaRaOHRU5DT0RFUkSHjUxhdmY1OS4yNy4xMDBzc9dj
wItjxYiTg3UyLK0IjGfIoUWjh0VOQ09ERVJEh5RMYXZjNTkuMzcuMTAwIGxpYnZweGfIokWjiERVUkFUSU9O
RIeUMDA6MDA6MjAuMDAwMDAwMDAwAAAfQ7Z1QTnngQCjvYEAAIDwAgCdASoQABAAAEcIhYWImYSIAgICdaoD
+AP6Ag1N7gD+/W7z/+Rv4+dG/8jj//xKnuOJ4//8RoCjrIED6ACxAQABEBAAGAAwP/QMAO8A/v1u8//kb+Pn
Rv/I4//8Sp7jieP//EaAo6yBB9AAsQEAARAQABgAMD/0DADvAP79bvP/5G/j50b/yOP//Eqe44nj//xGgKOs
gQu4ALEBAAEQEAAYADA/9AwA7wD+/W7z/+Rv4+dG/8jj//xKnuOJ4//8RoCjrIEPoACxAQABEBAAGAAwP/QM
AO8A/v1u8//kb+PnRv/I4//8Sp7jieP//EaAo72BE4iA8AIAnQEqEAAQAABHCIWFiJmEiAICAnWqA/gD+gIN
Te4A/v1u8//kb+PnRv/I4//8Sp7jieP//EaAH0O2dUEp54IXcKOsgQAAALEBAAEQEAAYADA/9AwA7wD+/W7z
/+Rv4+dG/8jj//xKnuOJ4//8RoCjrIED6ACxAQABEBAAGAAwP/QMAO8A/v1u8//kb+PnRv/I4//8Sp7jieP/
/EaAo6yBB9AAsQEAARAQABgAMD/0DADvAP79bvP/5G/j50b/yOP//Eqe44nj//xGgKOsgQu4ALEBAAEQEAAY
ADA/9AwA7wD+/W7z/+Rv4+dG/8jj//xKnuOJ4//8RoCjvYEPoIDwAgCdASoQABAAAEcIhYWImYSIAgICdaoD
+AP6Ag1N7gD+/W7z/+Rv4+dG/8jj//xKnuOJ4//8RoCjrIETiACxAQABEBAAGAAwP/QMAO8A/v1u8//kb+Pn
Rv/I4//8Sp7jieP//EaAH0O2dUEp54Iu4KOsgQAAALEBAAEQEAAYADA/9AwA7wD+/W7z/+Rv4+dG/8jj//xK
nuOJ4//8RoCjrIED6ACxAQABEBAAGAAwP/QMAO8A/v1u8//kb+PnRv/I4//8Sp7jieP//EaAo6yBB9AAsQEA
ARAQABgAMD/0DADvAP79bvP/5G/j50b/yOP//Eqe44nj//xGgKO9gQu4gPACAJ0BKhAAEAAARwiFhYiZhIgC
AgJ1qgP4A/oCDU3uAP79bvP/5G/j50b/yOP//Eqe44nj//xGgKOsgQ+gALEBAAEQEAAYADA/9AwA7wD+/W7z
/+Rv4+dG/8jj//xKnuOJ4//8RoCjrIETiACxAQABEBAAGAAwP/QMAO8A/v1u8//kb+PnRv/I4//8Sp7jieP/
/EaAH0O2deDngkZQo6yBAAAAsQEAARAQABgAMD/0DADvAP79bvP/5G/j50b/yOP//Eqe44nj//xGgKOsgQPo
ALEBAAEQEAAYADA/9AwA7wD+/W7z/+Rv4+dG/8jj//xKnuOJ4//8RoAcU7trx7uPs4EAt4r3gQHxggGg8IED
u5CzghOIt4r3gQHxggGg8IH6u5CzgicQt4r3gQHxggLf8IG8u5CzgjqYt4r3gQHxggQO8IGO
""")


def wav(seconds: int) -> bytes:
    """Silence, 96 kB for each second."""
    data = bytes(96_000 * seconds)
    form = struct.pack("<HHIIHH", 1, 1, 48_000, 96_000, 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body = head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pdf() -> bytes:
    """One red page."""
    paint = b"1 0 0 rg 0 0 600 800 re f"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(paint), paint),
    ]
    text, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(text))
        text += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        text
        + b"xref\n0 5\n0000000000 65535 f \n%s" % table
        + b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(text)
    )


#: WHATWG MIME Sniffing, section 4.6: every type that a browser takes for JavaScript.
JAVASCRIPT = [
    *("application/ecmascript", "application/javascript", "application/x-ecmascript"),
    *("application/x-javascript", "text/ecmascript", "text/javascript"),
    *(f"text/javascript1.{minor}" for minor in range(6)),
    *("text/jscript", "text/livescript", "text/x-ecmascript", "text/x-javascript"),
]
