"""The naming rules: what clients send, what is stored, and what is never accepted."""

from __future__ import annotations

import ntpath
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from pathlib import PurePosixPath
from pathlib import PureWindowsPath

import pytest

from flask_store import media_types
from flask_store import naming
from flask_store.exceptions import InvalidName
from flask_store.testing import HOSTILE
from tests.support.rounds import rounds

UUID = r"[2-9A-HJ-NP-Za-km-z]{22}"


def _is_uuid(name: str) -> bool:
    return re.fullmatch(rf"{UUID}(\.[A-Za-z0-9.]+)?", name) is not None


def _is_reserved(name: str) -> bool:
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()


def _assert_safe(name: str) -> None:
    assert name and naming.check(name) == name
    assert not set(name) & set('/\\<>:"|?*\0')
    assert len(name.encode("utf-8")) <= 255
    assert not {unicodedata.category(char) for char in name} & {"Cc", "Cf", "Cs"}
    assert not re.search("%[0-9A-Fa-f]{2}", name)
    assert name[0] not in " .~-" and name[-1] not in " ."
    assert unicodedata.is_normalized("NFC", name)
    # NFKD too: what a system makes of the name must be as safe as the name.
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        other = unicodedata.normalize(form, name)
        assert not set(other) & set('/\\<>:"|?*\0') and other.strip(" .")
        assert not other.startswith((".", "~", "-"))
    root = os.path.join(os.sep, "srv", "uploads")
    path = os.path.normpath(os.path.join(root, name))
    assert os.path.dirname(path) == root and os.path.basename(path) == name
    windows = PureWindowsPath(name)
    assert not windows.drive and not windows.root and len(windows.parts) == 1
    assert not _is_reserved(name)
    assert not _is_reserved(unicodedata.normalize("NFKC", name).strip(" ."))
    assert naming.clean(name) == name


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:40]))
def test_clean_makes_every_hostile_name_safe(name):
    """Whatever the client sends, the result is one safe component."""
    _assert_safe(naming.clean(name))


def test_plain_names_are_what_the_rules_make_of_them(monkeypatch):
    """One look at a plain name, or key, says what all the rules would say."""
    rng = random.Random(4)
    pieces = list("aZ09_.-() %:$/\\\n\u00e9\u0660\u2024") + [
        "con",
        "LPT1",
        ".jpg",
        "..",
        "x" * 99,
    ]
    texts = {"".join(rng.choices(pieces, k=rng.randrange(1, 7))) for _ in range(20_000)}
    plain = {text for text in texts if naming._PLAIN.match(text)}
    assert 500 < len(plain) < len(texts)
    keys = {text for text in texts if not naming.problem(text)}
    monkeypatch.setattr(naming, "_PLAIN", re.compile(r"\Z\A."))
    assert plain <= {text for text in texts if not naming.problem(text)} == keys
    for text in plain:
        assert naming.clean_destination(text) == text
        name = text.rpartition("/")[2]
        assert naming.clean(text) == naming.clean(name) == name


@pytest.mark.slow
def test_clean_makes_random_names_safe():
    """Random names, made of hostile pieces, are made safe, always alike."""
    rng = random.Random(20150405)
    pieces = list('/\\.%:*?<>|"~-_ \0\t\n\r\x85\x9f') + [name[:40] for name in HOSTILE]
    pieces += ["..", "CON", "nul.", "LPT¹", ".tar.gz", ".jpg", "é", "e\u0301", "2f"]
    for _ in range(rounds(20_000)):
        parts = [
            rng.choice(pieces) if rng.random() < 0.7 else chr(rng.randrange(0x110000))
            for _ in range(rng.randrange(9))
        ]
        name = "".join(parts) * rng.choice((1, 1, 1, 1, 30))
        cleaned = naming.clean(name)
        try:
            _assert_safe(cleaned)
        except AssertionError:
            raise AssertionError(f"{name!a} became {cleaned!a}") from None
        if not _is_uuid(cleaned):
            assert naming.clean(name) == cleaned


#: Where a character may stand, beside the middle of a name.
AT_THE_ENDS = ["{}", "{}a.txt", "a.txt{}"]


@pytest.mark.parametrize(
    "template",
    [
        "a{}b.txt",
        *(pytest.param(text, marks=pytest.mark.slow) for text in AT_THE_ENDS),
    ],
)
def test_clean_makes_every_character_safe(template):
    """No character of Unicode is unsafe at the start, in the middle or at the end."""
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category in ("Lo", "Co", "Cn") and code % 97 and code > 0x3400:
            continue  # a sample of the big blocks will do
        name = naming.clean(template.format(chr(code)))
        assert not set(unicodedata.normalize("NFKD", name)) & set('/\\<>:"|?*\0'), code
        assert naming.check(name) and naming.clean(name) == name, hex(code)
        assert name[0] not in " ." and name[-1] not in " .", hex(code)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localfile.jpg", "localfile.jpg"),
        ("фото.jpg", "фото.jpg"),
        ("男孩.jpg", "男孩.jpg"),
        ("\U0001f606", "\U0001f606"),
        ("i contain cool ümläuts.txt", "i contain cool ümläuts.txt"),
        ("日本語（コピー）.docx", "日本語（コピー）.docx"),
        ("達成率100％.pdf", "達成率100％.pdf"),
        ("½ cup.txt", "½ cup.txt"),
        ("e\u0301.txt", "é.txt"),
        ("e\u200d\u0301.txt", "é.txt"),
        ("__init__.py", "__init__.py"),
        ("_", "_"),
        ("$.$.$", "$.$.$"),
        ("Mr. Smith", "Mr. Smith"),
        ("wow!.png", "wow!.png"),
        ("[ab] {c} #1 & co;.txt", "[ab] {c} #1 & co;.txt"),
        ("backdoor.php.jpg", "backdoor.php.jpg"),
    ],
)
def test_clean_keeps_what_is_readable(name, expected):
    """Ordinary names of any script survive, in NFC."""
    assert naming.clean(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/tmp/hax0rd.txt", "hax0rd.txt"),
        ("../../../etc/passwd", "passwd"),
        ("C:\\Windows\\hax0rd.txt", "hax0rd.txt"),
        ("../..\\hax0rd.txt", "hax0rd.txt"),
        ("//server/share/x", "x"),
        ("c:test.txt", "test.txt"),
        ("c\u200b:test.txt", "test.txt"),
        ("dir/c:test.txt", "test.txt"),
        ("s3://other-bucket/x", "x"),
        ("..&#x2F;hax0rd.txt", "&#x2F;hax0rd.txt"),
        ("..&sol;x", "&sol;x"),
    ],
)
def test_clean_drops_directories_and_drives(name, expected):
    """Only what follows the last separator, and a drive, is the file's name."""
    assert naming.clean(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\0b.txt", "ab.txt"),
        ("file.txt\0.jpg", "file.txt.jpg"),
        ("a\x7fb\x9b", "ab"),
        ("\ud800bad", "bad"),
        ("evil\u202efdp.exe", "evilfdp.exe"),
        ("a\u200b.php", "a.php"),
        ("\ufeffa\u00ad\u2060.txt", "a.txt"),
        ("a\u3164\uffa0\u115f\u1160\u034f\u17b4\u180b\ufff0b", "ab"),
        ("❤\ufe0f.png", "❤.png"),
        ("a\U000e0067\U000e0100\U000e0fff.txt", "a.txt"),
        ("a\ufffe\ufdd0\U0010ffffb", "ab"),
        ("a\nb\tc\r\nd", "a b c  d"),
        ("a\u00a0b\u2028c\u3000d\u2800e\x85f\x1cg", "a b c d e f g"),
    ],
)
def test_clean_drops_what_cannot_be_seen(name, expected):
    """Nothing invisible stays, and every white space is a space."""
    assert naming.clean(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('file<>:"|?*.txt', "file_______.txt"),
        ("x.txt::$DATA", "x.txt__$DATA"),
        ("x::y", "x__y"),
        (
            "a\u2044b\u2215c\u29f8d\u29f5e\u2216f\ufe68g\uff0fh\uff3ci",
            "a_b_c_d_e_f_g_h_i",
        ),
        ("a\uff1ab\u2100c\u226ed", "a_b_c_d"),
        ("a\uf03ab\uf05cc", "a_b_c"),
        ("..%2f..%2fetc", "_2f.._2fetc"),
        ("%252e", "_252e"),
        ("a%00.jpg", "a_00.jpg"),
        ("%%32%66", "%_32_66"),
        ("％2f", "_2f"),
        ("%２f", "_２f"),
        ("%\u200b2f", "_2f"),
        ("100% sure.pdf", "100% sure.pdf"),
        ("100%", "100%"),
        ("%2", "%2"),
    ],
)
def test_clean_replaces_what_could_act(name, expected):
    """Forbidden characters, their lookalikes and percent codes become underscores."""
    assert naming.clean(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".htaccess", "htaccess"),
        ("..something", "something"),
        ("..jpg", "jpg"),
        (". .a. .", "a"),
        ("trailing. . ", "trailing"),
        ("shell.php.", "shell.php"),
        ("．htaccess", "htaccess"),
        ("‥…x", "x"),
        ("\u0301a.txt", "a.txt"),
        ("~root", "_~root"),
        ("～root", "_～root"),
        ("-rf", "_-rf"),
        ("--help", "_--help"),
        (".~x", "_~x"),
    ],
)
def test_clean_trims_and_guards_the_ends(name, expected):
    """Dots and spaces at the ends go; what a shell would act on gets an underscore."""
    assert naming.clean(name) == expected


@pytest.mark.parametrize(
    "name",
    "CON prn Aux NUL CONIN$ conout$ COM0 COM9 LPT1 COM¹ lpt² LPT³ ＣＯＮ CON.txt"
    " CON.txt.html nul.tar.gz COM¹.png".split()
    + ["CON .txt", "CON . txt", "aux\u00a0.jpg"],
)
def test_clean_defuses_device_names(name):
    """A name that Windows takes for a device gets an underscore in front."""
    assert naming.clean(name) == "_" + name.replace("\u00a0", " ")


@pytest.mark.parametrize("name", ["CONSOLE.txt", "COM10", "aux_.txt", "my con.txt"])
def test_clean_leaves_names_like_devices(name):
    """A name that only begins like a device's is left alone."""
    assert naming.clean(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", " ", "..", "...", "/", "/tmp/", "/tmp/.", "/tmp/..", "c:\\tmp\\", "???"]
    + ["c:\\tmp\\..", "c:", "\u200b", "\ud800", "\u3000", "‥", "．．", "\u0301", "//"]
    + ["\ufe0f", "\U000e0041", "℀", "|", ". .", "\ufffe"],
)
def test_clean_names_the_nameless(name):
    """A name with nothing to read in it is replaced by a new UUID each time."""
    first, second = naming.clean(name), naming.clean(name)
    assert re.fullmatch(UUID, first) and re.fullmatch(UUID, second)
    assert first != second


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        (".jpg", ".jpg"),
        (".JPG", ".JPG"),
        (" .jpg", ".jpg"),
        ("x/.webp", ".webp"),
        (".tar.gz", ".tar.gz"),
        ("???.jpg", ".jpg"),
        ("\u200b.jpg", ".jpg"),
        ("\u0301.txt", ".txt"),
        ("*.whatever", ".whatever"),
    ],
)
def test_clean_keeps_the_extension_of_the_nameless(name, extension):
    """A name that is an extension only keeps it behind a UUID."""
    assert re.fullmatch(UUID + re.escape(extension), naming.clean(name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a" * 251 + ".txt", "a" * 251 + ".txt"),
        ("a" * 252 + ".txt", "a" * 251 + ".txt"),
        ("a" * 300 + ".tar.gz", "a" * 248 + ".tar.gz"),
        ("中" * 86 + ".txt", "中" * 83 + ".txt"),
        ("\U0001f606" * 70, "\U0001f606" * 63),
        ("a" * 250 + " . b.txt", "a" * 250 + ".txt"),
        ("CON" + " " * 260 + "x.txt", "_CON.txt"),
        ("~" * 300, "_" + "~" * 254),
        ("a." + "b" * 300, "a." + "b" * 253),
    ],
)
def test_clean_shortens_the_stem(name, expected):
    """255 bytes are the most; the extension and whole characters are kept."""
    assert naming.clean(name) == expected


def test_clean_takes_no_time_for_a_huge_name():
    """A megabyte of combining marks cannot keep a worker busy."""
    start = time.process_time()
    assert naming.clean("a" + "\u0315\u0300" * 500_000 + ".jpg").endswith(".jpg")
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("name", "stem", "extension"),
    [
        ("a.txt", "a", ".txt"),
        ("archive.tar.gz", "archive", ".tar.gz"),
        ("data.csv.gz", "data", ".csv.gz"),
        ("x.tar.zst", "x", ".tar.zst"),
        ("X.TAR.Gz", "X", ".TAR.Gz"),
        ("a.b.c", "a.b", ".c"),
        ("v1.2.gz", "v1.2", ".gz"),
        ("report.final.gz", "report.final", ".gz"),
        ("a.gz", "a", ".gz"),
        (".tar.gz", ".tar", ".gz"),
        (".hidden", ".hidden", ""),
        ("..jpg", "..jpg", ""),
        ("README", "README", ""),
        ("a.", "a.", ""),
        ("Mr. Smith", "Mr. Smith", ""),
        ("a.c++", "a.c++", ""),
        ("a." + "x" * 31, "a", "." + "x" * 31),
        ("a." + "x" * 32, "a." + "x" * 32, ""),
        ("a.txt\n", "a.txt\n", ""),
        ("", "", ""),
    ],
)
def test_split(name, stem, extension):
    """Compound extensions stay together, and prose is no extension."""
    assert naming.split(name) == (stem, extension)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("localfile.jpg", rf"localfile_{UUID}\.jpg"),
        ("avatars/localfile.jpg", rf"avatars/localfile_{UUID}\.jpg"),
        ("a.b/archive.tar.gz", rf"a\.b/archive_{UUID}\.tar\.gz"),
        ("a.b/README", rf"a\.b/README_{UUID}"),
        ("/abs/x.txt", rf"/abs/x_{UUID}\.txt"),
        ("фото.jpg", rf"фото_{UUID}\.jpg"),
        ("a" * 255, rf"a{{232}}_{UUID}"),
        ("中" * 83 + ".txt", rf"中{{76}}_{UUID}\.txt"),
        ("d" * 300 + "/" + "a" * 251 + ".txt", rf"d{{300}}/a{{228}}_{UUID}\.txt"),
    ],
)
def test_unique(name, pattern):
    """A UUID stands before the extension, and the name still fits in 255 bytes."""
    result = naming.unique(name)
    assert re.fullmatch(pattern, result)
    assert len(result.rpartition("/")[2].encode()) <= 255
    assert naming.unique(name) != result


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:40]))
def test_original(name):
    """What unique() puts into a name is taken out again, whatever the name is."""
    name = naming.clean(name)
    assert naming.original(name) == name
    shortened = naming.original(naming.unique(name))
    stem, extension = naming.split(name)
    assert shortened.endswith(extension)
    assert stem.startswith(shortened.removesuffix(extension))
    if len(name.encode()) < 232:
        assert shortened == name
        # A file that is copied under the name that it had may get a second one.
        assert naming.original(naming.unique(naming.unique(name))) != shortened


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a.txt",
        "a_b.txt",
        "_XrDLmvTvLVd9KxHmFXVGYT.txt",
        "XrDLmvTvLVd9KxHmFXVGYT.txt",
        "XrDLmvTvLVd9KxHmFXVGYT",
        "a-XrDLmvTvLVd9KxHmFXVGYT.txt",
        "a_XrDLmvTvLVd9KxHmFXVGYTx.txt",
        "a_XrDLmvTvLVd9KxHmFXVGY.txt",
        "a_XrDLmvTvLVd9KxHmFXVGYT.b.txt",
        "a_XrDLmvTvLVd9KxHmFXVGY0.txt",
        "a_counterrevolutionaries.txt",
        "a_2222222222222222222222.txt",
        "a_zzzzzzzzzzzzzzzzzzzzzz.txt",
        "a_" + "0123456789abcdef" * 2 + ".txt",
    ],
)
def test_name_without_a_uuid_is_original(name):
    """Something that looks like a UUID, and is none or all of the name, stays."""
    assert naming.original(name) == name


def test_few_random_words_look_like_a_uuid():
    """A word of 22 characters may be the client's: only a random UUID is taken out."""
    random.seed(5)
    words = [
        "".join(random.choices("abcdefghijkmnopqrstuvwxyz", k=22)) for _ in "x" * 999
    ]
    assert sum(naming.original(f"a_{word}.txt") == "a.txt" for word in words) < 40


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:40]))
def test_unique_names_are_safe(name):
    """A renamed file's name is as safe as the name it comes from."""
    _assert_safe(naming.unique(naming.clean(name)))


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (None, ""),
        ("", ""),
        ("/", ""),
        (".", ""),
        ("avatars", "avatars"),
        ("/avatars/", "avatars"),
        ("avatars//2026\\05/./x", "avatars/2026/05/x"),
        ("фото/é", "фото/é"),
        (".git/a?b", "git/a_b"),
        ("CON/~x", "_CON/_~x"),
        (".flask-store", "flask-store"),
        ("a%2f..%2fb", "a_2f.._2fb"),
    ],
)
def test_clean_destination(destination, expected):
    """Each part of a destination is cleaned as a file name is."""
    assert naming.clean_destination(destination) == expected
    assert naming.clean_destination(expected) == expected


@pytest.mark.parametrize(
    "destination",
    ["..", "a/../b", "a\\..\\b", "a/...", " ", "a/ /b", "???", "C:\\", "a/\u200b"]
    + ["‥", ".\u200b.", "a/" * 520],
)
def test_clean_destination_refuses(destination):
    """A part that leads outside or cannot be read is an error, not a made-up name."""
    with pytest.raises(InvalidName):
        naming.clean_destination(destination)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:40]))
def test_clean_destination_is_safe_or_refused(name):
    """No hostile destination leads outside of the store."""
    try:
        destination = naming.clean_destination(name)
    except InvalidName:
        return
    for part in destination.split("/") if destination else []:
        _assert_safe(part)
    assert naming.clean_destination(destination) == destination


@pytest.mark.parametrize(
    "key",
    ["a.jpg", "avatars/me.jpg", "*", "**", "?", "[ab].txt", "{a,b}.txt", "a#frag"]
    + [".hidden", "x::y", "ab:c", "~x", "-rf", "a b"]
    + ["CON", "..a", "a..", "a%2fb", "x.txt:ads", "dir/c:x", "a\u202eb", "\u2028x"]
    + ["x" * 255, "/".join(["x" * 204] * 5), "flask-store", "a.flask-store"],
)
def test_check_accepts_odd_names_that_exist(key):
    """A key that can only mean one file in the store comes back unchanged."""
    assert naming.check(key) == key


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "is empty"),
        ("/x", "is absolute"),
        ("/", "is absolute"),
        ("//server/x", "is absolute"),
        ("c:", "is absolute"),
        ("C:x", "is absolute"),
        ("c:/x", "is absolute"),
        ("a/", "empty part"),
        ("a//b", "empty part"),
        (".", "dots or spaces"),
        ("..", "dots or spaces"),
        ("a/./b", "dots or spaces"),
        ("a/../b", "dots or spaces"),
        ("a/..", "dots or spaces"),
        ("a/.. /b", "dots or spaces"),
        ("a/.../b", "dots or spaces"),
        ("a\\b", "backslash"),
        ("..\\b", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x85b", "control"),
        ("a\ud800b", "surrogates"),
        ("x" * 256, "255 bytes"),
        ("д" * 128, "255 bytes"),
        ("/".join(["x" * 204] * 5) + "x", "1024 bytes"),
        (".flask-store", "private folder"),
        ("a/.Flask-STORE/b", "private folder"),
        (".flask\u200b-store/b", "private folder"),
        (".flask-store. /b", "private folder"),
        (".flask-store::$INDEX_ALLOCATION/b", "private folder"),
    ],
)
def test_check_refuses(key, problem):
    """A key that could mean anything else is refused, and the error says why."""
    with pytest.raises(InvalidName, match=problem) as info:
        naming.check(key)
    assert info.value.key == key


@pytest.mark.parametrize("key", [None, b"a", 1, os.DirEntry])
def test_check_takes_text_and_paths_only(key):
    """What is neither is no key."""
    with pytest.raises(InvalidName, match=f"not {type(key).__name__}"):
        naming.check(key)


@pytest.mark.parametrize("make", [Path, PurePosixPath, PureWindowsPath])
def test_paths_are_text(make):
    """A path is the same key and destination as its text, with slashes."""
    path = make("a", "b.txt")
    assert naming.check(path) == naming.clean_destination(path) == "a/b.txt"
    assert naming.join("x", path) == "x/a/b.txt"
    assert naming.clean(path) == "b.txt"
    assert naming.clean_destination(make()) == ""
    with pytest.raises(InvalidName, match="is absolute"):
        naming.check(make("/a"))


@pytest.mark.parametrize("extension", ["", ".txt", ".tar.gz"])
@pytest.mark.parametrize("room", [30, 40, 253, 255, 300])
def test_unique_stays_within_a_key(extension, room):
    """However deep the folder, the key keeps its extension and its UUID."""
    folder = ("ü" * 100 + "/") * 5
    folder = f"{folder[: (naming.MAX_KEY - room) // 2]}/".replace("//", "/")
    name = "é" * 300
    stem = name.encode()[: min(room, 255) - len(extension)].decode(errors="ignore")
    key = naming.unique(naming.check(folder + stem + extension))
    assert naming.check(key) == key
    assert re.fullmatch(
        rf"é*_[0-9A-Za-z]{{22}}{re.escape(extension)}", key[len(folder) :]
    )


def test_unique_says_that_there_is_no_room():
    """A folder that leaves no room for a UUID is named as the cause."""
    with pytest.raises(InvalidName, match="shorter destination"):
        naming.unique("/".join(["x" * 200] * 5) + "/a.txt")


def test_clean_stays_within_a_key():
    """A name is shortened until its key is one; it is left alone if it is one."""
    assert naming.clean("a.txt", "x" * 200) == "a.txt"
    assert naming.clean("a.txt", "x/" * 500) == "a.txt"
    assert naming.clean("a" * 50 + ".txt", "x/" * 500) == "a" * 19 + ".txt"
    deep = "/".join(["ü" * 100] * 5)[: naming.MAX_KEY // 2 - 20]
    name = naming.clean("ö" * 100 + ".txt", deep)
    assert name.endswith("ö.txt")
    assert len(naming.check(f"{deep}/{name}").encode()) <= naming.MAX_KEY


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), ""),
        (("",), ""),
        (("a",), "a"),
        (("a", "b"), "a/b"),
        (("a/", "/b/", "c"), "a/b/c"),
        (("", "a", "", "b", ""), "a/b"),
        (("a", "/etc/passwd"), "a/etc/passwd"),
        (("", "/etc/passwd"), "etc/passwd"),
        (("/some/place", "in/bucket", "foo.jpg"), "/some/place/in/bucket/foo.jpg"),
        (("//a//b",), "/a/b"),
        (("..a", "b.."), "..a/b.."),
    ],
)
def test_join(parts, expected):
    """Parts meet at single slashes, and no part discards the ones before it."""
    assert naming.join(*parts) == expected


@pytest.mark.parametrize("parts", [("..",), ("a", "../b"), ("a/..",), ("a", "..\\b")])
def test_join_refuses_to_climb(parts):
    """Nothing is joined that contains "..", whatever its separators are."""
    with pytest.raises(InvalidName, match="contains"):
        naming.join(*parts)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "text/plain"),
        ("a.JPG", "image/jpeg"),
        ("dir.x/a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.heic", "image/heic"),
        ("a.heif", "image/heif"),
        ("a.woff2", "font/woff2"),
        ("a.md", "text/markdown"),
        ("a.js", "text/javascript"),
        ("a.mjs", "text/javascript"),
        ("a.jsonl", "application/jsonl"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.wav", "audio/wav"),
        ("a.7z", "application/x-7z-compressed"),
        ("archive.tar.gz", "application/gzip"),
        ("archive.TGZ", "application/gzip"),
        ("x.svgz", "application/gzip"),
        ("x.svg", "image/svg+xml"),
        ("x.csv.zst", "application/zstd"),
        ("x.tar.bz2", "application/x-bzip2"),
        ("x.tar", "application/x-tar"),
        ("data:text/html,x.txt", "text/plain"),
        ("x.txt;type=html", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("a/.jpg", "application/octet-stream"),
        ("a.png/README", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_content_type(name, expected):
    """The extension decides, and a compressed file has its compression's type."""
    assert media_types.content_type(name) == expected


@pytest.mark.parametrize("room", [5, 6, 7])
def test_name_without_room_for_its_first_letter_keeps_its_extension(room: int) -> None:
    """A letter of four bytes does not fit beside '.jpg' then. The name stays as it is,
    and is refused where it is used."""
    folder = "f" * (100 - room - 1)
    name = "\N{GRINNING FACE}\N{GRINNING FACE}.jpg"
    assert naming.clean(name, folder, 100) == name
    assert naming.clean(name, folder[: 100 - 8 - 1], 100) == name[1:]


def test_content_type_is_the_same_on_every_machine():
    """What the machine or the application adds to mimetypes changes nothing."""
    code = (
        "import mimetypes; mimetypes.add_type('text/html', '.png');"
        "from flask_store.naming import content_type; print(content_type('a.png'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "image/png\n", run.stderr


@pytest.mark.parametrize("call", [naming.check, naming.join, naming.clean_destination])
@pytest.mark.parametrize("name", ["\r\n\x1b[31m", "\u202e" * 40, "x" * 5000])
def test_messages_quote_names_safely(call, name):
    """An error never repeats control or bidi characters, nor a whole long name."""
    with pytest.raises(InvalidName) as info:
        call(f"{name}/../{name}")
    assert str(info.value).isprintable() and len(str(info.value)) < 300


def test_invalid_name_is_a_value_error_and_a_bad_request():
    """A view need not catch what the client caused."""
    with pytest.raises(ValueError) as info:
        naming.check("../x")
    assert info.value.code == 400
