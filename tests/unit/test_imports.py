"""What importing costs: no optional package is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

from tests.support.servers import ROOT

OPTIONAL = {
    "IPython",
    "PIL",
    "aiobotocore",
    "boto3",
    "botocore",
    "gevent",
    "imagesize",
    "pandas",
    "pillow_heif",
    "pytest",
    "s3fs",
    "sqlalchemy",
}


def run(code: str) -> str:
    """Run a program in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code: str) -> set[str]:
    """The packages that are loaded when a program has run."""
    modules = run(f"{code}\nimport sys\nprint(*sys.modules)").split()
    return {name.partition(".")[0] for name in modules}


def test_import_loads_nothing_optional() -> None:
    """``import flask_store`` is light: fsspec comes with the first store."""
    found = loaded("import flask_store")
    assert "flask_store" in found
    assert not found & {*OPTIONAL, "asyncio", "fsspec", "shortuuid"}
    loaded("from flask_store import FileWrapper, Backend, StoreProvider, Provider")


def test_local_store_loads_nothing_optional(tmp_path: object) -> None:
    """Nor does an application with local files, from its start to a saved file."""
    found = loaded(f"""
from flask import Flask
from flask_store import Store
app = Flask("app")
app.config["STORE_PATH"] = {str(tmp_path)!r}
store = Store(app)
f = store.Provider().save(b"x", "a.txt")
assert app.test_client().get(f.absolute_url()).data == b"x"
""")
    assert not found & OPTIONAL


S3 = """
from flask import Flask
from flask_store import Store
from flask_store.stores.s3 import S3Store
app = Flask("app")
app.config.update(STORE_PROVIDER=S3Store, STORE_S3_BUCKET="b")
file = Store(app).Provider().file("a.txt")
"""


def test_s3_store_loads_s3fs_on_first_use_only() -> None:
    """A master that forks its workers later loads it in none of them but those that
    use it; and the names of both stores can be imported without it."""
    assert not loaded(S3) & OPTIONAL


def test_address_at_s3_loads_botocore_only() -> None:
    """botocore knows where a bucket is. No request is made, so s3fs is not needed."""
    found = loaded(f"{S3}\nfile.absolute_url()") & OPTIONAL
    assert found == {"botocore"}


def test_s3_without_s3fs_says_what_to_install() -> None:
    """The error is a line to paste, whether S3 was chosen by class or by URL."""
    said = run("""
import sys
sys.modules["s3fs"] = None  # what cannot be imported
from flask_store.exceptions import NotConfiguredError
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store
for make in (
    lambda: S3Store.from_config({"STORE_S3_BUCKET": "b"}),
    lambda: FsspecStore.from_url("s3://b"),
):
    try:
        make()
    except NotConfiguredError as exc:
        print(exc)
""")
    assert (
        said.splitlines()
        == ["S3 needs s3fs. Install it with: pip install 'Flask-Store[s3]'"] * 2
    )


def test_nothing_imports_the_chains() -> None:
    """Archives and caches are known by their entry points only."""
    said = run("""
import importlib, importlib.metadata, pathlib, sys
import flask_store
entries = importlib.metadata.entry_points(group="flask_store.dialects")
chains = {entry.module for entry in entries if entry.dist.name == "Flask-Store"}
assert len(chains) == 3
root = pathlib.Path(flask_store.__file__).parent
for path in root.rglob("*.py"):
    parts = path.relative_to(root.parent).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    if name not in chains:
        importlib.import_module(name)
print(*chains & set(sys.modules))
""")
    assert said.split() == []
