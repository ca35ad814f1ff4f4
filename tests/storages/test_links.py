"""Signed links: one file, one purpose, one store, for some time."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import pathlib
import typing as t
import urllib.parse
import uuid

import pytest
import requests
from flask import Flask
from flask import Response
from flask.testing import FlaskClient

from flask_store import Store
from flask_store.dialects.s3 import signing
from flask_store.exceptions import BadLink
from flask_store.exceptions import NotConfiguredError
from flask_store.http import links
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
from flask_store.testing import upload
from tests.storages.test_s3 import settings
from tests.support.gcs_server import account
from tests.support.gcs_server import fake_gcs
from tests.support.logins import add_logins
from tests.support.logins import logged_in
from tests.support.logins import WAYS
from tests.support.protocol_servers import azurite
from tests.support.protocol_servers import Place
from tests.support.server_contract import started
from tests.support.servers import S3Server
from tests.support.servers import serve


@pytest.fixture
def app(tmp_path: pathlib.Path) -> Flask:
    """An application that serves by signed links only, and has two stores."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="the key",
        STORE_PATH=str(tmp_path / "one"),
        STORE_SIGNED_URLS=True,
        OTHER_STORE_PATH=str(tmp_path / "two"),
    )
    Store(app)
    Store(app, name="other")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of it."""
    return app.test_client()


@pytest.fixture
def store(app: Flask) -> t.Iterator[FsspecStore]:
    """Its first store, in an application context."""
    with app.app_context():
        yield t.cast("FsspecStore", app.extensions["store"].Provider())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that links see; it stands until a test moves it."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(links.time, "time", lambda: now[0])
    return now


def changed(link: str, **more: str | None) -> str:
    """A link with other parameters."""
    parts = urllib.parse.urlsplit(link)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **more}
    given = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urllib.parse.urlencode(given)).geturl()


def test_route_wants_a_signature(client: FlaskClient, store: FsspecStore) -> None:
    """With STORE_SIGNED_URLS the bare URL is a 403, absolute_url() a link."""
    f = store.at("ü b").save(upload(b"secret", "50% & more.txt"))
    reply = client.get("/" + f.relative_url())
    assert reply.status_code == 403
    assert reply.headers["Cache-Control"] == "no-store"
    reply = client.get(f.absolute_url())
    assert (reply.status_code, reply.data) == (200, b"secret")
    assert client.head(f.absolute_url()).status_code == 200
    assert client.get("/flaskstore/no.txt").status_code == 403


def test_tampered_link(client: FlaskClient, store: FsspecStore) -> None:
    """Whatever is changed, left out or added to what was signed, it is a 403."""
    f, g = store.save(upload(b"f", "f.txt")), store.save(upload(b"g", "g.txt"))
    link = f.signed_url(download_as="x.txt")
    assert client.get(link).data == b"f"
    signature = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))[
        "signature"
    ]
    for bad in [
        link.replace("f.txt", "g.txt"),
        changed(link, expires="9999999999"),
        changed(link, expires="x"),
        changed(link, expires=None),
        changed(link, download_as="evil.html"),
        changed(link, download_as=None),
        changed(link, signature=None),
        changed(link, signature=""),
        changed(link, signature="é"),
        changed(link, signature=signature[:-1]),
        changed(link, signature=signature.swapcase()),
        changed(f.signed_url(), download_as="x.txt"),
        g.signed_url().replace("g.txt", "f.txt"),
    ]:
        assert client.get(bad).status_code == 403, bad


def test_expired_link(
    client: FlaskClient, store: FsspecStore, clock: list[float]
) -> None:
    """A link is good for its time, at most a quarter longer, and then a 403."""
    f = store.save(upload())
    link = f.signed_url(expires=100)
    for later, status in [(0, 200), (100, 200), (126, 403)]:
        clock[0] = 1_800_000_000.0 + later
        with client.get(link) as reply:
            assert reply.status_code == status


def test_link_of_another_store(
    client: FlaskClient, app: Flask, store: FsspecStore
) -> None:
    """The same key in another store needs a link of its own."""
    other = app.extensions["store.other"].Provider()
    f, g = store.save(upload(b"f")), other.save(upload(b"g"))
    assert client.get(g.signed_url()).data == b"g"
    query = urllib.parse.urlsplit(f.signed_url()).query
    assert client.get(f"/{g.relative_url()}?{query}").status_code == 403


def test_link_for_another_purpose(client: FlaskClient, store: FsspecStore) -> None:
    """A link to read cannot be used to write, nor an upload's token to read."""
    form = store.presign_upload("new.txt", max_size=10)
    f = store.file(form.key)
    read = urllib.parse.parse_qs(urllib.parse.urlsplit(f.signed_url()).query)
    post = f"/{f.relative_url()}?token={read['signature'][0]}"
    assert client.post(post, data={}).status_code == 403
    with pytest.raises(BadLink):
        store.confirm(read["signature"][0])
    signature = form.token.rpartition(".")[2]
    reply = client.get(changed(f.signed_url(), signature=signature))
    assert reply.status_code == 403


def test_link_of_another_application(client: FlaskClient, store: FsspecStore) -> None:
    """Another SECRET_KEY makes another signature."""
    f = store.save(upload())
    stranger = Flask(__name__)
    stranger.config["SECRET_KEY"] = "another key"
    with stranger.app_context():
        link = f.signed_url()
    assert client.get(link).status_code == 403


def test_old_keys_still_read(
    app: Flask, client: FlaskClient, store: FsspecStore
) -> None:
    """A key that has moved to SECRET_KEY_FALLBACKS verifies, and no longer signs."""
    f = store.save(upload())
    old = f.signed_url()
    app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["the key", "oldest"])
    new = f.signed_url()
    assert old != new
    for link in (old, new):
        with client.get(link) as reply:
            assert reply.status_code == 200
    app.config["SECRET_KEY_FALLBACKS"] = None
    assert client.get(old).status_code == 403


@pytest.mark.parametrize("expires", [1, 5, 60, 3600, 604_800])
def test_link_stays_the_same_for_a_while(expires: int) -> None:
    """Links made within a quarter of their time are mostly one link, and none ends
    before its time or more than a quarter later."""
    moments = range(1_800_000_000, 1_800_000_000 + 2 * expires, max(1, expires // 50))
    made = {now: links.period(expires, now) for now in moments}
    assert len(set(made.values())) <= 2 * expires // max(1, expires // 4) + 1
    for now, period in made.items():
        assert period.start.timestamp() <= now
        assert now + expires <= period.end <= now + expires + max(1, expires // 4)


def test_link_is_cached_until_it_ends(
    client: FlaskClient, store: FsspecStore, clock: list[float]
) -> None:
    """A browser may keep a file as long as its link is good, and a proxy may not."""
    f = store.save(upload())
    first = f.signed_url(expires=400)
    clock[0] += 99
    assert f.signed_url(expires=400) == first
    with client.get(first) as reply:
        assert reply.headers["Cache-Control"] == "private, max-age=401"


def test_download_as(client: FlaskClient, store: FsspecStore) -> None:
    """The name is signed with the link, cleaned, and makes a browser save the file."""
    f = store.save(upload(b"pdf", "r.pdf"))
    for name, said in [
        (
            "Rechnung Mai ü.pdf",
            'attachment; filename="Rechnung Mai u.pdf";'
            " filename*=UTF-8''Rechnung%20Mai%20%C3%BC.pdf",
        ),
        ('a"\r\nX: y', 'attachment; filename="a_  X_ y"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
    ]:
        reply = client.get(f.signed_url(download_as=name))
        assert reply.headers["Content-Disposition"] == said
        assert reply.data == b"pdf"


def test_name_without_a_signature_is_ignored(tmp_path: pathlib.Path) -> None:
    """Nobody but the application says how a file is saved; a signature that is there
    is checked, also where none is needed."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="k", STORE_PATH=str(tmp_path))
    store = Store(app)
    with app.app_context():
        f = store.Provider().save(upload())
        link = t.cast(t.Any, f).signed_url(download_as="x.txt")
    client = app.test_client()
    with client.get("/flaskstore/a.txt?download_as=evil.exe") as reply:
        assert reply.headers["Content-Disposition"] == 'inline; filename="a.txt"'
    with client.get(link) as reply:
        assert 'filename="x.txt"' in reply.headers["Content-Disposition"]
    assert client.get(changed(link, download_as="evil.exe")).status_code == 403


def test_without_a_secret(tmp_path: pathlib.Path) -> None:
    """Without SECRET_KEY, or an application, the error says which is missing."""
    store = FsspecStore.from_url(f"file://{tmp_path}")
    store.serves = True
    with pytest.raises(NotConfiguredError, match="SECRET_KEY, and there is no app"):
        store.file("a.txt").signed_url()
    with Flask(__name__).app_context():
        with pytest.raises(NotConfiguredError, match="SECRET_KEY, and it is not set"):
            store.file("a.txt").signed_url()
        with pytest.raises(NotConfiguredError, match="SECRET_KEY"):
            store.presign_upload("a.txt", max_size=1)


def test_nobody_serves(tmp_path: pathlib.Path) -> None:
    """A link to a file that nobody serves is an error, not a dead link."""
    store = FsspecStore.from_config({"STORE_PATH": tmp_path, "STORE_SERVE": "off"})
    with pytest.raises(NotConfiguredError, match="STORE_SERVE"):
        store.file("a.txt").signed_url()


@pytest.mark.parametrize(
    "expires", [0, -1, math.nan, math.inf, "60", dt.timedelta(minutes=1)]
)
def test_expires_must_be_a_time(store: FsspecStore, expires: t.Any) -> None:
    """A link for no time, or for what is no number of seconds, is a mistake of the
    caller."""
    with pytest.raises(ValueError, match="number of seconds"):
        store.file("a.txt").signed_url(expires=expires)


@pytest.mark.parametrize("argument", ["download_as", "download_name"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        (pathlib.PurePath("dir/b.txt"), 'filename="b.txt"'),
        ("\udc80b.txt", 'filename="b.txt"'),
        ("\ud800", 'filename="'),
        ("", 'filename="a.txt"'),
    ],
)
def test_any_name_makes_a_link(
    client: FlaskClient, store: FsspecStore, argument: str, name: t.Any, said: str
) -> None:
    """A client may send any text as a name, by JSON half a character, too."""
    link = store.save(b"x", "a.txt").signed_url(**{argument: name})
    reply = client.get(link)
    assert reply.status_code == 200
    assert said in reply.headers["Content-Disposition"]


def test_signature_without_a_key(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody can sign, every signature is wrong. That is no fault of the
    settings, unless they ask for signatures."""
    app = Flask(__name__)
    app.config["STORE_PATH"] = f"memory://{uuid.uuid4()}"
    Store(app).save(b"x", "a.txt")
    client = app.test_client()
    assert client.get("/flaskstore/a.txt?signature=x&expires=1").status_code == 403
    assert not caplog.records
    app.config["STORE_SIGNED_URLS"] = True
    t.cast(Store, app.extensions["store"]).init_app(app)
    assert client.get("/flaskstore/a.txt?signature=x&expires=1").status_code == 502


@pytest.mark.parametrize("token", [None, "", "x", "\ud800", "ü", 5, ["x"], {}])
def test_token_that_is_none(store: FsspecStore, token: t.Any) -> None:
    """A view passes on what a client has sent, as JSON, too."""
    with pytest.raises(BadLink):
        store.confirm(token)


@pytest.mark.parametrize(
    "wrong",
    [{"max_size": 0}, {"max_size": "5"}, {"max_size": 5, "expires": "60"}],
)
def test_limits_of_a_form_are_numbers(store: FsspecStore, wrong: t.Any) -> None:
    """They may come from settings, as text."""
    with pytest.raises(ValueError, match="1 at least"):
        store.presign_upload("a.txt", **wrong)


def test_name_alone(client: FlaskClient, store: FsspecStore) -> None:
    """A link can say the name and leave it to the type whether the file is shown. The
    signature covers the name."""
    text, page = store.save(b"x", "a.txt"), store.save(b"x", "a.html")
    for f, shown in ((text, "inline"), (page, "attachment")):
        link = f.signed_url(download_name="ü.txt")
        said = client.get(link).headers["Content-Disposition"]
        assert said == f"{shown}; filename=\"u.txt\"; filename*=UTF-8''%C3%BC.txt"
        for bad in (
            changed(link, download_name="virus.exe"),
            changed(link, download_name=None),
            changed(link, download_name=None, download_as="ü.txt"),
        ):
            assert client.get(bad).status_code == 403
    bad = changed(text.signed_url(), download_name="virus.exe")
    assert client.get(bad).status_code == 403


def test_link_of_the_application_is_for_both_methods(
    client: FlaskClient, store: FsspecStore
) -> None:
    """A link for HEAD is the same one; a method that reads nothing is a mistake."""
    f = store.save(b"x", "a.txt")
    link = f.signed_url(method="HEAD")
    assert link == f.signed_url()
    assert client.head(link).status_code == client.get(link).status_code == 200
    with pytest.raises(ValueError, match="'GET' or 'HEAD'"):
        f.signed_url(method=t.cast(t.Any, "PUT"))
    with pytest.raises(ValueError, match="one name"):
        f.signed_url(download_as="a", download_name="b")


@pytest.mark.parametrize("version", ["", 5, b"5"])
def test_version_that_is_none(version: t.Any) -> None:
    """A link to no version would be one to whatever the file is now."""
    keys = {"STORE_S3_ACCESS_KEY": "k", "STORE_S3_SECRET_KEY": "s"}
    s3 = S3Store.from_config({"STORE_S3_BUCKET": "b", **keys})
    with pytest.raises(ValueError, match="version_id"):
        s3.signed_url("a.txt", version_id=version)


def test_version_where_there_are_none(store: FsspecStore) -> None:
    """A link to a version is refused where nobody would look at the version."""
    with pytest.raises(NotConfiguredError, match="version 'v1'"):
        store.file("a.txt").signed_url(version_id="v1")
    proxied = S3Store.from_config({"STORE_S3_BUCKET": "b", "STORE_SERVE": "proxy"})
    with pytest.raises(NotConfiguredError, match="other than 'proxy'"):
        proxied.file("a.txt").signed_url(version_id="v1")


# -- S3 ------------------------------------------------------------------------


def test_signature_is_that_of_the_documentation() -> None:
    """The example of the Amazon S3 API Reference ("Authenticating Requests: Using
    Query Parameters") comes out to the last digit."""
    link = signing.link(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        signing.Keys(
            "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        ),
        "us-east-1",
        dt.datetime(2013, 5, 24, tzinfo=dt.UTC),
        86400,
    )
    assert link.endswith(
        "&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize("token", [None, "tok/en+="])
@pytest.mark.parametrize("style", ["path", "virtual"])
def test_signature_is_that_of_botocore(
    monkeypatch: pytest.MonkeyPatch, token: str | None, style: str
) -> None:
    """botocore signs the same request, at the same moment, in the same way."""
    from botocore import auth
    from botocore.config import Config
    from botocore.session import Session

    store = S3Store.from_config(
        {
            "STORE_S3_BUCKET": "photos",
            "STORE_S3_REGION": "eu-central-1",
            "STORE_S3_ENDPOINT_URL": "https://storage.example.com:9000",
            "STORE_S3_ADDRESSING_STYLE": style,
            "STORE_S3_ACCESS_KEY": "AK",
            "STORE_S3_SECRET_KEY": "SK",
            "STORE_S3_SESSION_TOKEN": token,
        }
    )
    link = store.file("ü b/50% #1?&+.txt").signed_url(expires=3600, download_as="ü.txt")
    said = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))
    start = dt.datetime.strptime(said["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr(
        auth, "get_current_datetime", lambda *args, **kwargs: start, raising=False
    )
    client = Session().create_client(
        "s3",
        endpoint_url="https://storage.example.com:9000",
        region_name="eu-central-1",
        aws_access_key_id="AK",
        aws_secret_access_key="SK",
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )
    theirs = client.generate_presigned_url(
        "get_object",
        {
            "Bucket": "photos",
            "Key": "ü b/50% #1?&+.txt",
            "ResponseContentDisposition": said["response-content-disposition"],
            "ResponseContentType": "text/plain; charset=utf-8",
        },
        ExpiresIn=int(said["X-Amz-Expires"]),
    )
    client.close()
    assert urllib.parse.urlsplit(link)[:3] == urllib.parse.urlsplit(theirs)[:3]
    assert said == dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(theirs).query))


@pytest.fixture
def s3(seaweedfs_server: S3Server, seaweedfs_bucket: str) -> S3Store:
    """A store that the application does not serve."""
    return S3Store.from_config(
        settings(seaweedfs_server, seaweedfs_bucket, STORE_SIGNED_URLS=True)
    )


def test_s3_link(s3: S3Store) -> None:
    """S3 itself checks the link, and answers with the name that was signed."""
    f = s3.at("ü b").save(upload(b"from S3", "50% & more.txt"))
    link = f.signed_url(download_as="Rechnung Mai €.txt")
    reply = requests.get(link, timeout=10)
    assert (reply.status_code, reply.content) == (200, b"from S3")
    assert reply.headers["Content-Disposition"] == (
        'attachment; filename="Rechnung Mai .txt";'
        " filename*=UTF-8''Rechnung%20Mai%20%E2%82%AC.txt"
    )
    assert requests.get(f.absolute_url(), timeout=10).content == b"from S3"
    bare = link.partition("?")[0]
    for bad in [
        bare,
        changed(link, **{"X-Amz-Expires": "604800"}),
        changed(link, **{"response-content-disposition": "inline"}),
        link.replace("more.txt", "less.txt"),
    ]:
        assert requests.get(bad, timeout=10).status_code == 403
    assert requests.put(link, data=b"x", timeout=10).status_code == 403
    assert requests.delete(link, timeout=10).status_code == 403
    assert f.read() == b"from S3"


def test_s3_page_is_saved(s3: S3Store) -> None:
    """From S3, too, a page is saved and a picture is shown."""
    page, picture = (s3.save(upload(b"<b>", name)) for name in ("p.html", "p.png"))
    shown = [
        requests.get(f.signed_url(), timeout=10).headers["Content-Disposition"]
        for f in (page, picture)
    ]
    assert shown == ['attachment; filename="p.html"', 'inline; filename="p.png"']


def test_s3_link_says_the_type(s3: S3Store) -> None:
    """A link that S3 serves says as what, too: code is no code there either, whatever
    type is stored, and however much is shown."""
    bold = S3Store.from_config(
        {
            "STORE_PATH": s3.uri,
            "STORE_OPTIONS": s3.storage_options,
            "STORE_INLINE_TYPES": ["text/*", "application/*"],
        }
    )
    for name, stored, sent in [
        ("a.js", None, "application/octet-stream"),
        ("b.txt", "text/javascript", "text/plain; charset=utf-8"),
        ("c", "text/javascript", "application/octet-stream"),
        ("d.png", "text/css", "image/png"),
    ]:
        f = bold.save(b"alert()", name, content_type=stored)
        reply = requests.get(f.signed_url(), timeout=10)
        assert reply.headers["Content-Type"] == sent


def test_s3_link_for_head(s3: S3Store) -> None:
    """S3 signs the method: a link for HEAD gives no byte to anybody."""
    f = s3.save(b"from S3", "a.txt")
    link = f.signed_url(method="HEAD", download_name="b.txt")
    reply = requests.head(link, timeout=10)
    assert (reply.status_code, reply.headers["Content-Length"]) == (200, "7")
    assert reply.headers["Content-Disposition"] == 'inline; filename="b.txt"'
    assert requests.get(link, timeout=10).status_code == 403


def test_s3_link_has_the_name_that_the_client_gave(s3: S3Store) -> None:
    """The UUID of a name that was taken does not show from S3, either."""
    first, second = s3.save(b"x", "a.txt"), s3.save(b"y", "a.txt")
    reply = requests.get(second.signed_url(), timeout=10)
    assert first.key != second.key and reply.content == b"y"
    assert reply.headers["Content-Disposition"] == 'inline; filename="a.txt"'


def test_s3_link_to_a_version(moto_server: S3Server) -> None:
    """In a bucket that keeps versions, a link leads to the one that was signed."""
    from botocore.session import Session

    bucket = moto_server.make_bucket()
    client = Session().create_client(
        "s3",
        "us-east-1",
        endpoint_url=moto_server.endpoint_url,
        aws_access_key_id=moto_server.access_key,
        aws_secret_access_key=moto_server.secret_key,
    )
    client.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    store = S3Store.from_config(settings(moto_server, bucket))
    for content in (b"first", b"second"):
        f = store.save(content, "a.txt", on_conflict="overwrite")
    found = client.list_object_versions(Bucket=bucket)["Versions"]
    client.close()
    ids = [version["VersionId"] for version in found if not version["IsLatest"]]
    link = f.signed_url(version_id=ids[0], download_as="old.txt")
    reply = requests.get(link, timeout=10)
    assert reply.content == b"first"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="old.txt"'
    assert requests.get(f.signed_url(), timeout=10).content == b"second"
    assert f"versionId={ids[0]}" in link


def test_s3_link_needs_no_network() -> None:
    """A link is made without a server, by the public name that browsers know."""
    store = S3Store.from_config(
        {
            "STORE_S3_BUCKET": "photos",
            "STORE_S3_ENDPOINT_URL": "http://127.0.0.1:9",
            "STORE_S3_PUBLIC_ENDPOINT_URL": "https://files.example.com",
            "STORE_S3_ACCESS_KEY": "AK",
            "STORE_S3_SECRET_KEY": "not to be shown",
        }
    )
    f = store.file("a.txt")
    assert f.absolute_url() == "https://files.example.com/photos/a.txt"
    assert f.signed_url().startswith("https://files.example.com/photos/a.txt?X-Amz-")
    assert f.signed_url() == f.signed_url()
    assert "not to be shown" not in f.signed_url() + repr(store)
    assert "public_endpoint_url" not in store.storage_options
    assert "X-Amz-Expires=604800" in f.signed_url(expires=604_800)
    with pytest.raises(ValueError, match="seven days"):
        f.signed_url(expires=700_000)


def test_s3_link_without_credentials() -> None:
    """Nobody can sign without a key, and the error says which settings to look at."""
    store = S3Store.from_config(
        {"STORE_S3_BUCKET": "photos", "STORE_S3_OPTIONS": {"anon": True}}
    )
    with pytest.raises(NotConfiguredError, match="STORE_S3_ACCESS_KEY"):
        store.file("a.txt").signed_url()


def test_public_endpoint_needs_a_scheme() -> None:
    """'files.example.com' is no URL, and that is said at once."""
    with pytest.raises(NotConfiguredError, match="STORE_S3_PUBLIC_ENDPOINT_URL"):
        S3Store.from_config(
            {"STORE_S3_BUCKET": "b", "STORE_S3_PUBLIC_ENDPOINT_URL": "files.example"}
        )


@pytest.mark.parametrize("serve", ["redirect", "proxy"])
def test_s3_through_the_application(
    seaweedfs_server: S3Server, seaweedfs_bucket: str, serve: str
) -> None:
    """'redirect' checks the application's link and sends the browser to S3's own;
    'proxy' keeps it away from S3."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="k",
        STORE_PROVIDER="flask_store.stores.s3.S3Store",
        **settings(
            seaweedfs_server,
            seaweedfs_bucket,
            STORE_SERVE=serve,
            STORE_SIGNED_URLS=True,
        ),
    )
    store = Store(app)
    with app.app_context():
        f = t.cast(t.Any, store.Provider()).save(upload(b"x"))
        signed, address = f.signed_url(), f.absolute_url()
    client = app.test_client()
    assert client.get("/flaskstore/a.txt").status_code == 403
    if serve == "proxy":
        assert signed == address
        assert client.get(signed).data == b"x"
    else:
        assert signed.startswith(seaweedfs_server.endpoint_url)
    app.config["STORE_SIGNED_URLS"] = False
    store.init_app(app)
    reply = client.get("/flaskstore/a.txt")
    if serve == "redirect":
        assert (reply.status_code, reply.headers["Cache-Control"]) == (302, "no-store")
        assert requests.get(reply.location, timeout=10).content == b"x"
    else:
        assert reply.data == b"x"


@pytest.fixture
def service_account() -> t.Iterator[Place]:
    """An emulator of Google Cloud, for who has the private key of an account."""
    token = Response('{"access_token": "x", "expires_in": 3600}')
    with started(fake_gcs) as place, serve(token) as url:
        yield dataclasses.replace(
            place, options={**place.options, "token": account(url)}
        )


@pytest.fixture
def azure() -> t.Iterator[Place]:
    """One azurite."""
    with started(azurite) as place:
        yield place


@pytest.fixture(params=["seaweedfs", "moto", "service_account", "azure"])
def redirecting(request: pytest.FixtureRequest) -> Flask:
    """An application that sends each reader to the storage."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="k", STORE_SERVE="redirect")
    if request.param in ("seaweedfs", "moto"):
        server = request.getfixturevalue(f"{request.param}_server")
        app.config.update(
            STORE_PROVIDER="flask_store.stores.s3.S3Store",
            **settings(server, server.make_bucket()),
        )
    else:
        place = request.getfixturevalue(request.param)
        app.config.update(STORE_PATH=place.new(), STORE_OPTIONS=place.options)
    Store(app)
    return app


def test_redirected_head(redirecting: Flask) -> None:
    """A HEAD is sent to a link that is good for a HEAD, with the same headers as the
    link for a GET has; a missing file is missing there, too."""
    with redirecting.app_context():
        redirecting.extensions["store"].Provider().save(b"%PDF-1.7", "a b.pdf")
    client = redirecting.test_client()

    def follow(method: str, name: str) -> requests.Response:
        reply = client.open(f"/flaskstore/{name}", method=method)
        assert (reply.status_code, reply.headers["Cache-Control"]) == (302, "no-store")
        return requests.request(method, reply.location, timeout=10)

    got, head = follow("GET", "a b.pdf"), follow("HEAD", "a b.pdf")
    assert (got.status_code, got.content) == (200, b"%PDF-1.7")
    assert (head.status_code, head.content) == (200, b"")
    compared = ["Content-Length", "Content-Type", "Content-Disposition", "ETag"]
    if "Werkzeug" in head.headers.get("Server", ""):  # moto's HEAD has none
        compared.remove("Content-Disposition")
    for name in compared:
        assert head.headers.get(name) == got.headers.get(name), name
    # moto takes whoever has a link for one who may not list, and hides what is missing.
    assert follow("HEAD", "none.pdf").status_code in (403, 404)


@pytest.mark.parametrize("way", ["authorize", "view"])
def test_redirect_behind_a_login(redirecting: Flask, way: str) -> None:
    """Only whoever is logged in is sent to the storage, and no cache keeps the link. A
    form's answer is one for GET."""
    add_logins(redirecting)
    with redirecting.app_context():
        store = redirecting.extensions["store"].Provider()
        f = store.save(b"%PDF-1.7", "a.pdf")

    @redirecting.post("/export")
    def export() -> t.Any:
        return f.response(as_attachment=True)

    reply = redirecting.test_client().get(f"{WAYS[way]}/a.pdf")
    assert reply.status_code in (401, 403) and "Location" not in reply.headers
    member = logged_in(redirecting)
    reply = member.get(f"{WAYS[way]}/{f.key}")
    assert (reply.status_code, reply.headers["Cache-Control"]) == (302, "no-store")
    assert requests.get(reply.location, timeout=10).content == b"%PDF-1.7"
    reply = member.post("/export")
    assert reply.status_code == 303
    assert requests.get(reply.location, timeout=10).content == b"%PDF-1.7"
    assert "attachment" in reply.location


def test_redirect_of_a_file_that_waits(
    seaweedfs_server: S3Server,
    seaweedfs_bucket: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The application sends a file that waits for its upload itself, because the
    storage does not have it."""
    app = Flask(__name__)
    app.config.update(
        STORE_PROVIDER="flask_store.stores.s3.S3Store",
        STORE_SERVE="redirect",
        STORE_BACKGROUND=True,
        STORE_SPOOL_PATH=str(tmp_path),
        **settings(seaweedfs_server, seaweedfs_bucket),
    )
    store = Store(app)

    def fail(*args: t.Any) -> t.NoReturn:
        raise ConnectionError

    with app.app_context():
        provider = store.Provider()
        monkeypatch.setattr(type(provider.dialect), "put_file", fail)
        f = provider.save(b"waits", "a.txt")
        url = provider.public_url(f.key)
    assert app.test_client().get(url).data == b"waits"
    f.delete()
    assert app.test_client().get(url).status_code == 302


@pytest.mark.far
def test_azure_link_to_a_version() -> None:
    """The link names the version, and its signature is one for a version."""
    with started(azurite) as place:
        store = FsspecStore.from_config(
            {"STORE_PATH": place.new(), "STORE_OPTIONS": place.options}
        )
        moment = "2026-05-01T12:00:00.0000000Z"
        link = store.file("a.txt").signed_url(version_id=moment)
        said = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)
        assert (said["versionid"], said["sr"]) == ([moment], ["bv"])


@pytest.mark.far
def test_azure_link() -> None:
    """Azure itself checks the link, and answers with the name that was signed."""
    with started(azurite) as place:
        store = FsspecStore.from_config(
            {"STORE_PATH": place.new(), "STORE_OPTIONS": place.options}
        )
        f = store.at("ü b").save(upload(b"from Azure", "50% & more.txt"))
        link = f.signed_url(download_as="Rechnung Mai €.txt")
        assert link == f.signed_url(download_as="Rechnung Mai €.txt")
        reply = requests.get(link, timeout=10)
        assert (reply.status_code, reply.content) == (200, b"from Azure")
        assert reply.headers["Content-Disposition"] == (
            'attachment; filename="Rechnung Mai .txt";'
            " filename*=UTF-8''Rechnung%20Mai%20%E2%82%AC.txt"
        )
        for bad in [
            link.partition("?")[0],
            changed(link, se="2099-01-01T00:00:00Z"),
            changed(link, rscd="inline"),
            link.replace("more.txt", "less.txt"),
        ]:
            assert requests.get(bad, timeout=10).status_code in (403, 404)
        head = {"x-ms-blob-type": "BlockBlob"}
        assert requests.put(link, b"x", headers=head, timeout=10).status_code == 403
        assert requests.delete(link, timeout=10).status_code == 403
        assert f.read() == b"from Azure"
        code = store.save(b"alert()", "a.txt", content_type="text/javascript")
        reply = requests.get(code.signed_url(), timeout=10)
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
