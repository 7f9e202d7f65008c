"""The notebooks in examples/ run, and print what they show."""

import copy
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import CHECKOUT

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((CHECKOUT / "examples").glob("*.ipynb"))
# What is another one each time: ids, rates, times, and the folder.
CHANGING = re.compile(
    r"\b[0-9a-f]{32}\b|\b[0-9a-f]{8}\b|[\d,.]+ samples/s|\d+:\d\d:\d\d|\S*/outputs|merge difference.*"
)
NUMBER = re.compile(r"[-+]?\d+\.\d+(?:e-?\d+)?")
CLOSE = 0.03  # other processors and other numbers of threads add in another order, and training widens that


def shown(notebook: Any) -> list[str]:
    """What stands below each cell, as text."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found.append(output.get("text") or data.get("text/plain") or output.output_type)
    return found


def words(text: str) -> str:
    """The text without numbers and without what changes; columns may be of another width."""
    return " ".join(NUMBER.sub("#", CHANGING.sub("*", text)).split())


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_prints_what_it_shows(file: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    kept = nbformat.read(file, as_version=4)
    again = copy.deepcopy(kept)
    for cell in again.cells:
        cell.pop("outputs", None)
    NotebookClient(
        again,
        timeout=600,
        resources={"metadata": {"path": str(tmp_path)}},
        coalesce_streams=True,
        kernel_name="python3",
    ).execute()
    before, now = shown(kept), shown(again)
    assert [words(text) for text in now] == [words(text) for text in before]
    for old, new in zip(before, now, strict=True):
        numbers = [[float(n) for n in NUMBER.findall(CHANGING.sub("*", t))] for t in (old, new)]
        assert numbers[1] == pytest.approx(numbers[0], abs=CLOSE, rel=CLOSE), new


def test_there_are_three_notebooks_that_were_run() -> None:
    assert len(NOTEBOOKS) == 3
    for file in NOTEBOOKS:
        cells = nbformat.read(file, as_version=4).cells
        assert all(c.execution_count for c in cells if c.cell_type == "code"), file
