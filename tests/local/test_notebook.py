"""Notebooks: listings, previews, frames, and the notebook of the documentation."""

from __future__ import annotations

import base64
import functools
import io
import pathlib
import typing as t
import uuid

import pytest

from flask_store.dialects import PAGE
from flask_store.exceptions import NotConfiguredError
from flask_store.exceptions import StoreUnavailable
from flask_store.files import FileWrapper
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.views import preview
from tests.storages.test_s3 import settings
from tests.support.proxy import Proxy
from tests.support.servers import ROOT
from tests.support.servers import S3Server

DOCS = ROOT / "docs"
EVIL = "<img src=x onerror=alert(1)>.txt"


@pytest.fixture
def proxy(seaweedfs_server: S3Server) -> t.Iterator[Proxy]:
    """A counting proxy in front of SeaweedFS."""
    with Proxy(seaweedfs_server.endpoint_url) as running:
        yield running


@pytest.fixture(params=["local", "memory", "seaweedfs"])
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> FsspecStore:
    """An empty store of each kind."""
    if request.param == "local":
        return FsspecStore.from_url(f"file://{tmp_path}/store")
    if request.param == "memory":
        return FsspecStore.from_url(f"memory://{uuid.uuid4()}")
    server: S3Server = request.getfixturevalue("seaweedfs_server")
    bucket: str = request.getfixturevalue("seaweedfs_bucket")
    return S3Store.from_config(settings(server, bucket, STORE_PATH="some/place"))


@pytest.fixture
def counted(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, proxy: Proxy
) -> FsspecStore:
    """A store whose requests the proxy counts."""
    made = S3Store.from_config(
        settings(
            seaweedfs_server,
            seaweedfs_bucket,
            STORE_S3_ENDPOINT_URL=proxy.endpoint_url,
        )
    )
    made.save(b"warm", "warm.txt")
    proxy.requests.clear()
    return made


def picture(kind: str = "PNG", size: int = 8) -> bytes:
    """A real picture."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (size, size), "orange").save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def shell() -> t.Iterator[t.Any]:
    """A real IPython, which is what decides how something is shown."""
    from IPython.core.interactiveshell import InteractiveShell

    made = InteractiveShell()
    # The terminal's formatter shows text only, unlike a notebook's.
    made.display_formatter.active_types = made.display_formatter.format_types
    yield made
    made.history_manager.end_session()
    made.history_manager.enabled = False
    InteractiveShell.clear_instance()


def shown(shell: t.Any, value: object) -> dict[str, str]:
    """The MIME bundle that IPython makes of a value."""
    bundle, _ = shell.display_formatter.format(value)
    return t.cast("dict[str, str]", bundle)


# -- listings -----------------------------------------------------------------


def test_listing_is_a_table(store: FsspecStore, shell: t.Any) -> None:
    """The first rows and how many more there are; names are escaped."""
    store.put(EVIL, b"x")
    for number in range(60):
        store.put(f"b/{number:02}.txt", b"x")
    html = shown(shell, store.ls())["text/html"]
    assert html.count("<tr>") == 51
    assert "and 11 more" in html
    assert "&lt;img src=x" in html
    assert "<img" not in html


def test_listing_of_nothing(store: FsspecStore, shell: t.Any) -> None:
    """An empty store is an empty table."""
    bundle = shown(shell, store.ls())
    assert bundle["text/html"].count("<tr>") == 1
    assert bundle["text/plain"].startswith("<Listing of <")


def test_listing_becomes_a_frame(store: FsspecStore) -> None:
    """A row for each file, also a second time, and of a listing of nothing."""
    import pandas as pd
    import polars as pl

    store.put("x/a.csv", b"x,y\n1,2\n")
    store.put("x/b/c.bin", b"0" * 10)
    columns = ["key", "name", "size", "modified", "content_type", "etag"]
    listing = store.at("x").ls()
    for frame in (listing.to_frame(), listing.to_frame()):
        assert list(frame.columns) == columns
        assert dict(zip(frame["name"], frame["size"], strict=True)) == {
            "a.csv": 8,
            "b/c.bin": 10,
        }
        assert set(frame["key"]) == {"x/a.csv", "x/b/c.bin"}
        assert str(frame["modified"].dtype).endswith("UTC]")
    assert pl.from_pandas(listing.to_frame())["size"].sum() == 18
    assert list(store.ls("no").to_frame().columns) == columns
    assert list(store.ls("x", recursive=False).to_frame()["name"]) == ["x/a.csv"]
    usage = pd.DataFrame(store.usage())
    assert list(usage.columns) == ["name", "files", "size"]
    assert pl.DataFrame(store.usage()).shape == (1, 3)


def test_listing_is_one_request(
    counted: FsspecStore, proxy: Proxy, seaweedfs_server: S3Server, shell: t.Any
) -> None:
    """However many files there are; iterating asks for a thousand at a time."""
    assert repr(counted.ls()) and not proxy.requests
    client = seaweedfs_server.client()
    bucket = counted.dialect.root
    for number in range(PAGE + 100):
        client.put_object(Bucket=bucket, Key=f"{number // 100}/{number}", Body=b"")
    client.close()
    proxy.requests.clear()
    html = shown(shell, counted.ls())["text/html"]
    assert f"and {PAGE - 50} or more" in html
    assert [r.method for r in proxy.requests] == ["GET"]
    iterator = iter(counted.ls())
    for _ in range(PAGE):
        next(iterator)
    assert len(proxy.requests) == 2
    assert len(list(iterator)) == 101
    assert len(proxy.requests) == 3


def test_keys_complete(store: FsspecStore, shell: t.Any) -> None:
    """store["<TAB> knows the names; a storage that is away completes nothing."""
    from IPython.core.completer import provisionalcompleter

    store.put("2026/cat.png", b"")
    store.put("dog.png", b"")
    shell.user_ns["store"] = store
    shell.Completer.use_jedi = False
    with provisionalcompleter():
        found = [c.text for c in shell.Completer.completions('store["20', 9)]
    assert any("2026/cat.png" in name for name in found), found
    away = FsspecStore.from_url("file:///proc/nowhere/at/all")
    assert away._ipython_key_completions_() == []


def test_store_is_no_sequence(store: FsspecStore) -> None:
    """A store is not iterated over by store[0], store[1], and so on."""
    store.put("a.txt", b"")
    with pytest.raises(TypeError):
        iter(store)  # type: ignore[call-overload]
    assert "a.txt" in store
    assert "b.txt" not in store
    assert store["a.txt"] == store.file("a.txt")


def test_usage(store: FsspecStore) -> None:
    """By folder, type and month; matplotlib draws it."""
    import matplotlib

    matplotlib.use("Agg")
    for folder, size in (("a", 10), ("a/b", 30), ("", 5), ("$x$", 7)):
        store.at(folder).put("f.txt", b"x" * size)
    found = store.usage()
    assert [(g.name, g.files, g.size) for g in found] == [
        ("a/", 2, 40),
        ("$x$/", 1, 7),
        ("./", 1, 5),
    ]
    assert (found.files, found.size) == (4, 52)
    assert [g.name for g in store.usage("a")] == ["b/", "./"]
    assert [g.name for g in store.at("a").usage()] == ["b/", "./"]
    assert [g.name for g in store.usage(by="type")] == ["text/plain"]
    (month,) = store.usage(by="month")
    assert month.name[:2] == "20" and month.files == 4
    assert "<td>a/</td><td>2</td>" in found._repr_html_()
    with pytest.raises(ValueError, match="'prefix', 'type' or 'month'"):
        store.usage(by="size")  # type: ignore[arg-type]
    axes = found.plot()
    axes.figure.canvas.draw()
    assert [bar.get_width() for bar in axes.patches] == [40, 7, 5]
    assert axes.get_xlabel() == "B"
    matplotlib.pyplot.close(axes.figure)


# -- previews -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_picture(store: FsspecStore, shell: t.Any, kind: str) -> None:
    """A picture is shown as it is."""
    data = picture(kind)
    f = store.save(data, f"x.{kind.lower()}")
    bundle = shown(shell, f)
    assert base64.b64decode(bundle[f"image/{kind.lower()}"]) == data
    assert "text/html" not in bundle
    assert bundle["text/plain"] == repr(f)


def test_no_picture(store: FsspecStore, shell: t.Any) -> None:
    """A file that only says that it is a picture is a card."""
    for name in ("lie.png", "lie.avif"):
        lie = shown(shell, store.save(b"<svg onload=alert(1)>", name))
        assert set(lie) == {"text/plain", "text/html"}
        assert "<svg" not in str(lie)
        assert "no such picture" in lie["text/html"]


@functools.cache
def large() -> bytes:
    """A picture of more than 1 MiB, in its first bytes."""
    from PIL import Image

    stream = io.BytesIO()
    Image.effect_noise((1800, 900), 100).save(stream, "PNG")
    assert len(stream.getvalue()) > preview.PICTURE
    return stream.getvalue()


def small_size(bundle: dict[str, str]) -> tuple[int, int]:
    """The width and the height of the JPEG that is shown."""
    from PIL import Image

    assert set(bundle) == {"text/plain", "image/jpeg"}
    return Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))).size


def test_large_picture_is_made_smaller(tmp_path: pathlib.Path, shell: t.Any) -> None:
    """Nothing is stored by it."""
    store = FsspecStore.from_url(f"file://{tmp_path}/store")
    f = store.save(large(), "large.png")
    assert small_size(shown(shell, f)) == (640, 320)
    with pytest.raises(NotConfiguredError):
        f.variant(width=640)


def test_large_picture_has_a_variant(tmp_path: pathlib.Path, shell: t.Any) -> None:
    """Where the store has them, and it is shown again without another decode."""
    config = {"STORE_PATH": str(tmp_path / "store"), "STORE_VARIANTS": {}}
    store = FsspecStore.from_config(config)
    f = store.save(large(), "large.png")
    assert small_size(shown(shell, f)) == (640, 320)
    assert f.variant(width=640, height=640, format="jpeg").exists()
    assert small_size(shown(shell, f)) == (640, 320)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_picture_that_notebooks_do_not_show(
    tmp_path: pathlib.Path, shell: t.Any, kind: str
) -> None:
    """It is shown as a JPEG, however small it is."""
    if kind == "HEIF":
        import pillow_heif  # type: ignore[import-untyped, unused-ignore]

        pillow_heif.register_heif_opener()
    store = FsspecStore.from_url(f"file://{tmp_path}/store")
    extension = {"AVIF": "avif", "HEIF": "heic"}[kind]
    f = store.save(picture(kind, 64), f"x.{extension}")
    assert small_size(shown(shell, f)) == (64, 64)


def test_large_picture_that_is_broken(tmp_path: pathlib.Path, shell: t.Any) -> None:
    """It is a card that says so."""
    store = FsspecStore.from_url(f"file://{tmp_path}/store")
    f = store.save(large()[:100] + b"\xff" * 2**21, "broken.png")
    html = shown(shell, f)["text/html"]
    assert "more than 1 MiB" in html and "cannot be made smaller" in html


def test_large_picture_without_pillow(
    counted: FsspecStore, proxy: Proxy, shell: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a card, as ever, and no more of it is read."""
    monkeypatch.setattr(preview.importlib.util, "find_spec", lambda name: None)
    f = counted.save(large() + bytes(2**20), "large.png")
    proxy.requests.clear()
    bundle = shown(shell, f)
    assert set(bundle) == {"text/plain", "text/html"}
    assert "more than 1 MiB" in bundle["text/html"]
    (request,) = proxy.requests
    assert request.received <= 2**20 + 1


def test_large_picture_is_two_requests(
    counted: FsspecStore, proxy: Proxy, shell: t.Any
) -> None:
    """No byte is read twice."""
    data = large()
    f = counted.save(data, "large.png")
    proxy.requests.clear()
    small_size(shown(shell, f))
    assert [r.method for r in proxy.requests] == ["GET", "GET"]
    assert sum(r.received for r in proxy.requests) == len(data)


@pytest.mark.parametrize(
    "name, data",
    [
        ("t.csv", b"a,b\n<script>alert(1)</script>,2\n"),
        ("t.json", b'{"a": "<script>alert(1)</script>"}'),
        ("t.txt", b"<script>alert(1)</script>\x1b[31m"),
        ("t.md", b"<script>alert(1)</script>"),
    ],
)
def test_text(store: FsspecStore, shell: t.Any, name: str, data: bytes) -> None:
    """The first lines, escaped."""
    html = shown(shell, store.save(data, name))["text/html"]
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "\x1b" not in html


def test_text_is_cut(store: FsspecStore, shell: t.Any) -> None:
    """Twenty lines, of which none is longer than the screen."""
    data = b"".join(b"line %d\n" % number for number in range(1, 100_000))
    html = shown(shell, store.save(data, "long.csv"))["text/html"]
    assert "line 20\n…</pre>" in html
    wide = shown(shell, store.save(b"x" * 300, "wide.txt"))["text/html"]
    assert "x" * 200 + "…" in wide
    assert "x" * 201 not in wide
    assert "<pre></pre>" in shown(shell, store.save(b"", "empty.txt"))["text/html"]


@pytest.mark.parametrize("name", ["page.html", "image.svg", "code.js", "data.bin"])
def test_card(store: FsspecStore, shell: t.Any, name: str) -> None:
    """What a browser would run, and what nobody can read, is a card."""
    data = b"<svg onload=alert(1)><script>alert(1)</script></svg>"
    bundle = shown(shell, store.save(data, name))
    assert set(bundle) == {"text/plain", "text/html"}
    assert "alert" not in bundle["text/html"]
    assert f"<td>{name}</td>" in bundle["text/html"]
    assert "<td>52 B</td>" in bundle["text/html"]


def test_name_is_escaped(store: FsspecStore, shell: t.Any) -> None:
    """Whatever a file is called, and in whichever kind of view."""
    for name in (EVIL, EVIL[:-3] + "bin", "a\u202egpj.exe"):
        store.put(name, b"x")
        html = shown(shell, store[name])["text/html"]
        assert "<img" not in html
        assert "\u202e" not in html


@pytest.mark.parametrize("name", ["no.png", "no.csv", "no.bin"])
def test_missing_file_is_a_card(store: FsspecStore, shell: t.Any, name: str) -> None:
    """A view never raises."""
    html = shown(shell, store[name])["text/html"]
    assert "FileNotFound" in html


@pytest.mark.parametrize("name", ["x.png", "x.csv", "x.bin", "empty.txt"])
def test_preview_is_one_request(
    counted: FsspecStore, proxy: Proxy, shell: t.Any, name: str
) -> None:
    """One, and of a large file no more than the preview needs."""
    counted.put(name, b"" if name == "empty.txt" else b"x" * 3_000_000)
    proxy.requests.clear()
    shown(shell, counted[name])
    (request,) = proxy.requests
    assert request.received <= 2**20 + 1


def test_views_of_a_storage_that_is_away(
    counted: FsspecStore, proxy: Proxy, shell: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No view raises, and none shows what an error quotes."""

    def away(*args: t.Any, **kwargs: t.Any) -> t.NoReturn:
        raise StoreUnavailable("https://x/?X-Amz-Signature=sekret")

    for name in ("stat", "stream"):
        monkeypatch.setattr(FsspecStore, name, away)
    monkeypatch.setattr(type(counted.dialect), "first_page", away)
    for value in (counted["a.png"], counted["a.csv"], counted["a.bin"], counted.ls()):
        bundle = shown(shell, value)
        assert bundle["text/plain"].startswith("<")
        assert "sekret" not in str(bundle)


def test_views_show_no_secret(
    store: FsspecStore, shell: t.Any, seaweedfs_server: S3Server
) -> None:
    """Neither the keys nor a link that carries a signature."""
    files = [store.save(b"x", name) for name in ("a.png", "a.csv", "a.bin")]
    for value in (store, store.ls(), store.usage(), *files):
        text = str(shown(shell, value))
        assert seaweedfs_server.secret_key not in text
        assert seaweedfs_server.access_key not in text
        assert "Signature" not in text
        assert "href" not in text


def test_repr_does_no_io() -> None:
    """A repr of a storage that does not exist comes at once."""
    away = FsspecStore.from_url("s3://none", endpoint_url="http://127.0.0.1:9")
    assert repr(away["a.png"]) == "<FileWrapper 'a.png' in <FsspecStore 's3://none'>>"
    assert repr(away.ls("x")) == "<Listing of <FsspecStore 's3://none'> below 'x'>"


# -- what people do with a file ------------------------------------------------


def test_other_libraries_open_it(store: FsspecStore) -> None:
    """pandas, Pillow and UPath take a stored file."""
    import pandas as pd
    from PIL import Image
    from upath import UPath

    frame = pd.DataFrame({"x": [1, 2]})
    table = store.save(frame.to_csv(index=False).encode(), "t.csv")
    assert pd.read_csv(table.open())["x"].tolist() == [1, 2]
    parquet = store.save(frame.to_parquet(), "t.parquet")
    if "memory" not in store.uri:  # pandas opens no memory:// with our options
        read = pd.read_parquet(
            parquet.uri, storage_options=store.storage_options or None
        )
        assert read["x"].tolist() == [1, 2]
    assert Image.open(store.save(picture(), "p.png").open()).size == (8, 8)
    path = UPath(table.uri, **store.storage_options)
    assert path.read_bytes() == table.read()


def test_progress_of_a_save(store: FsspecStore, tmp_path: pathlib.Path) -> None:
    """A callback of fsspec's learns the size and, in the end, that all is sent."""
    from fsspec.callbacks import Callback

    seen: list[int] = []
    data = b"x" * 3_000_000

    class Watch(Callback):  # type: ignore[misc]
        def call(self, hook_name: str | None = None, **kwargs: t.Any) -> None:
            seen.append(self.value)

    watch = Watch()
    f = store.save(data, "x.bin", callback=watch)
    assert watch.size == watch.value == len(data)
    assert len(seen) > 3
    down = Watch()
    f.download(tmp_path, down)
    assert down.value == len(data)


def test_tqdm(store: FsspecStore, capsys: pytest.CaptureFixture[str]) -> None:
    """tqdm's bar, by way of fsspec."""
    from fsspec.callbacks import TqdmCallback

    with TqdmCallback(tqdm_kwargs={"unit": "B"}) as callback:
        store.save(b"x" * 3_000_000, "x.bin", callback=callback)
    assert "3000000/3000000" in capsys.readouterr().err


def test_a_subclass_shows_as_itself(store: FsspecStore, shell: t.Any) -> None:
    """The plain text of a preview is the repr, whatever that is."""

    class Mine(FileWrapper):
        def __repr__(self) -> str:
            return "<mine>"

    assert shown(shell, Mine("a.bin", store))["text/plain"] == "<mine>"


# -- the notebook of the documentation -------------------------------------------


def tour() -> t.Any:
    """The module that runs the notebook."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("run_tour", DOCS / "run_tour.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kinds(notebook: t.Any) -> list[list[str]]:
    """What kinds of output every cell has, but for what was drawn on stderr."""
    return [
        sorted(
            kind
            for output in cell.get("outputs", ())
            for kind in output.get("data", {"stdout": 1})
            if output.get("name") != "stderr"
        )
        for cell in notebook.cells
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client")
@pytest.mark.parametrize("where", ["as documented", "local", "seaweedfs"])
def test_documented_notebook_runs(
    where: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    """The notebook runs on every storage, and shows what the documentation shows."""
    import nbformat

    env = {}
    if where == "local":
        env = {"STORE_URL": f"file://{tmp_path}/store"}
    if where == "seaweedfs":
        server: S3Server = request.getfixturevalue("seaweedfs_server")
        env = {
            "STORE_URL": f"s3://{request.getfixturevalue('seaweedfs_bucket')}/tour",
            "AWS_ENDPOINT_URL": server.endpoint_url,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_DEFAULT_REGION": server.region,
        }
    env |= {"IPYTHONDIR": str(tmp_path / "ipython")}
    executed = tour().run(**env)
    documented = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    assert kinds(executed) == kinds(documented)
    if where == "as documented":
        frames = [c for c in executed.cells if c.source.startswith("import pandas")]
        kept = [c for c in documented.cells if c.source.startswith("import pandas")]
        assert frames[0].outputs[0].data == kept[0].outputs[0].data
    if where == "seaweedfs":
        assert server.secret_key not in nbformat.writes(executed)
        assert server.access_key not in nbformat.writes(executed)
