"""Errors by label and by length, and disagreement, from tables as the tasks log them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from expkit.comparison.errors import tables


def logged(folder: Path, **columns: list[Any]) -> Path:
    """A table as a run logs it."""
    file = folder / f"{len(list(folder.iterdir()))}.json"
    rows = list(zip(*columns.values(), strict=True))
    file.write_text(json.dumps({"columns": list(columns), "data": rows}))
    return file


def test_labels(tmp_path: Path) -> None:
    asked = {"text": ["a", "bb", "ccc", "dddd"], "label": ["x", "x", "x", "y"]}
    first = logged(tmp_path, **asked, predicted=["x", "y", "y", "y"])
    second = logged(tmp_path, **asked, predicted=["x", "x", "y", "x"])
    other = logged(tmp_path, **asked, predicted=["x", "x", "x", "y"])
    reasons, (by_label, by_length, disagreement) = tables(
        {"A": [[first], [second]], "B": [[other]]}
    )
    assert reasons == "Of 4 examples the runs have logged the answers."
    assert by_label[0] == "Mean share of wrong answers by label"
    assert by_label[2:] == (
        ["label", "examples", "A", "B"],
        [["x", "3", "0.5000", "0.0000"], ["y", "1", "0.5000", "0.0000"]],
    )
    assert by_length[3] == [
        ["1 to 1", "1", "0.0000", "0.0000"],
        ["2 to 2", "1", "0.5000", "0.0000"],
        ["3 to 3", "1", "1.0000", "0.0000"],
        ["4 to 4", "1", "0.5000", "0.0000"],
    ]
    entropy = f"{-(math.log2(1 / 3) / 3 + 2 * math.log2(2 / 3) / 3):.4f}"
    assert disagreement[3] == [
        ["bb", "x", "y; x", "x", entropy],
        ["ccc", "x", "y (2 ×)", "x", entropy],
        ["dddd", "y", "y; x", "y", entropy],
    ]


def test_folds_are_one_run(tmp_path: Path) -> None:
    parts = [logged(tmp_path, text=[t], label=["x"], predicted=[p]) for t, p in ("ax", "by")]
    _, (by_label, *_) = tables({"A": [parts]})
    assert by_label[3] == [["x", "2", "0.5000"]]


@pytest.mark.parametrize(
    ("columns", "by_label", "mean", "spread"),
    [
        (
            {"labels": [["x", "y"], []], "predicted": [["x"], []], "probabilities": [[1], [0]]},
            [["x", "1", "1.0000"], ["y", "1", "1.0000"]],
            "0.5000",
            [],
        ),
        (
            {"entities": ["PER: A ; B: C; LOC: D", ""], "predicted": ["PER: A ; B: C", ""]},
            [["LOC", "1", "1.0000"], ["PER", "1", "1.0000"]],
            "0.5000",
            [],
        ),
        ({"label": [1.0, 2.0], "predicted": [0.0, 5.0]}, [], "2.0000", []),
        ({"reference": ["a\nb c", "d"], "prediction": ["b c", "d"]}, [], "100.0000", []),
    ],
    ids=["sets", "entities", "numbers", "texts"],
)
def test_other_answers(
    columns: dict[str, list[Any]], by_label: Any, mean: str, spread: Any, tmp_path: Path
) -> None:
    found, by_length, disagreement = tables(
        {"A": [[logged(tmp_path, text=["same", "size"], **columns)]]}
    )[1]
    assert found[3] == by_label
    assert by_length[3] == [["4 to 4", "2", mean]]
    assert disagreement[3] == spread


def test_numbers_disagree_by_their_deviation(tmp_path: Path) -> None:
    """Also where all are equally wrong; an answer that is no number is not compared."""
    asked = {"text": ["a", "b", "c"], "label": [1.0, 1.0, 1.0]}
    runs = [
        [logged(tmp_path, **asked, predicted=[0.0, 2.0, 1.0])],
        [logged(tmp_path, **asked, predicted=[2.0, 2.0, None])],
    ]
    assert tables({"A": runs})[1][2][3] == [["a", "1.0000", "0.0000; 2.0000", "1.0000"]]


def test_why_there_are_no_tables(tmp_path: Path) -> None:
    known = [[logged(tmp_path, text=["a"], label=["x"], predicted=["x"])]]
    others = [[logged(tmp_path, text=["b"], label=["x"], predicted=["x"])]]
    tokens = [[logged(tmp_path, true=["a b"], predicted=["a c"])]]
    assert "not answered the same examples" in tables({"A": known, "B": others})[0]
    for missing in (tokens, [[None]], []):
        assert (
            "have logged no inputs"
            in tables({"A": known if missing != [] else [], "B": missing})[0]
        )
