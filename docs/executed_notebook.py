"""``.. executed-notebook:: file.ipynb``: its cells and what they showed.

Only what the notebook holds is rendered; nothing is executed during a build.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class ExecutedNotebook(SphinxDirective):
    """Code as code, HTML and pictures as they are, all other output as text."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of every cell."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        notebook = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        return [node for cell in notebook["cells"] for node in self._cell(cell)]

    def _cell(self, cell: dict[str, t.Any]) -> t.Iterator[nodes.Node]:
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            yield from self.parse_text_to_nodes(source.replace("`", "``"))
            return
        yield nodes.literal_block(source, source, language="python")
        for output in _joined(cell["outputs"]):
            yield from _output(output)


def _joined(outputs: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The pieces in which a stream was written as one text."""
    found: list[dict[str, t.Any]] = []
    for output in outputs:
        if found and "text" in output and output.get("name") == found[-1].get("name"):
            output = {
                **output,
                "text": _text(found.pop()["text"]) + _text(output["text"]),
            }
        found.append(output)
    return found


def _output(output: dict[str, t.Any]) -> t.Iterator[nodes.Node]:
    data = {kind: _text(value) for kind, value in output.get("data", {}).items()}
    # What a terminal draws over is gone.
    text = data.get("text/plain", _text(output.get("text", "")).rpartition("\r")[2])
    if "image/png" in data:
        source = f"data:image/png;base64,{data['image/png'].strip()}"
        html = f'<p><img src="{source}" alt="{text.split()[0].strip("<")}"></p>'
        yield nodes.raw("", html, format="html")
    elif "text/html" in data:
        yield nodes.raw("", data["text/html"], format="html")
    elif text.strip():
        yield nodes.literal_block(text, text, language="text")


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def setup(app: t.Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("executed-notebook", ExecutedNotebook)
    return {"parallel_read_safe": True}
