"""Run the notebook of the documentation and keep what it shows.

Call it after a change of the notebook, or of what views look like: ``python
docs/run_tour.py``. The tests run the notebook too, and compare.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import nbformat
from nbclient import NotebookClient

TOUR = pathlib.Path(__file__).parent / "tour.ipynb"


def run(**env: str) -> t.Any:
    """Execute the notebook from its beginning, with more in the environment.

    :return: the notebook with its outputs.
    """
    notebook = nbformat.read(TOUR, as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.execute(env={**os.environ, **env})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when, and on which machine, is noise
    notebook.metadata.pop("language_info", None)
    return notebook


if __name__ == "__main__":
    nbformat.write(run(), TOUR)
