"""How Sphinx builds the documentation."""

from __future__ import annotations

import configparser
import pathlib
import sys

from pallets_sphinx_themes import ProjectLink

# The directive for the notebook lies beside this file.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

metadata = configparser.ConfigParser(interpolation=None)
metadata.read(pathlib.Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")

project = metadata["metadata"]["name"]
author = metadata["metadata"]["author"]
copyright = author
version = release = metadata["metadata"]["version"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "executed_notebook",
    "pallets_sphinx_themes",
]
exclude_patterns = ["_build"]
default_role = "code"
# What is Python says so; the rest is commands and tables.
highlight_language = "text"

autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True

# Other projects' objects are named but not linked: their inventories would have to be
# fetched, and a build must not need the network.
others = ["aiobotocore", "blinker", "botocore", "flask", "fsspec", "s3fs", "sqlalchemy"]
others += ["collections", "contextlib", "datetime", "os", "pathlib", "typing"]
others += ["markupsafe", "werkzeug", "wtforms"]
nitpick_ignore_regex = [(r"py:.*", rf"({'|'.join(others)})\..*")]
# The standard library's names that have no module in front of them.
nitpick_ignore_regex += [
    (
        r"py:(class|exc|obj)",
        r"(bool|bytes|dict|float|int|list|object|set|str|tuple|type|t\..*|dt\..*"
        r"|[A-Z]\w*(Error|Exception|Warning)|Exception|ClientDisconnected"
        r"|None|Any|io\.IOBase)",
    )
]

# Imported for type checking only, these come to autodoc as they are written.
nitpick_ignore_regex += [
    (
        r"py:class",
        r"AbstractFileSystem|FileStorage|Flask|FsspecStore|Request|Response|Stat|Upload"
        r"|Background|BackgroundUpload|Change|Destination|Entry|Explained|Fit|Format"
        r"|AbstractContextManager|AnyName|Growing|Method|OnConflict|Parts|Receiver"
        r"|TextDraft|Variants"
        r"|io\.TextIOWrapper",
    )
]
nitpick_ignore_regex += [
    (
        r"py:class",
        r"File|TypeDecorator|(.*\.)?ProviderT_co|.*\.(CheckT|StoredFile|Writable)",
    )
]

html_theme = "flask"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"{project} documentation ({version})"
html_copy_source = False
html_context = {"project_links": [ProjectLink("Changes", "changes.html")]}
html_sidebars = {
    "**": ["localtoc.html", "relations.html", "searchbox.html"],
    "index": ["project.html", "localtoc.html", "searchbox.html"],
}
