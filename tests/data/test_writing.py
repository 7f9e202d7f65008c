"""Files of predictions: what they hold of the records, and that no half of one stays."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from expkit.data.files import read
from expkit.data.splits import Record, Split
from expkit.data.writing import Answered, save
from expkit.terminal.errors import UserError


def part(rows: list[Record], features: Any = None) -> Split:
    return Split(datasets.Dataset.from_list(rows, features), "a", "a", "0", str)


def parts(*answers: list[list[Record]]) -> Iterator[Answered]:
    """One part for each list of answers, its records numbered."""
    for rows in answers:
        yield part([{"n": i} for i in range(len(rows))]), rows


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_texts_come_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    texts = ["a, b", 'say "x"', "two\nlines", "a\rb", "", "NA", "007", "日本語"]
    file = tmp_path / f"out{suffix}"
    rows = part([{"text": text} for text in texts])
    save(file, iter([(rows, [[{"label": text}] for text in texts])]), has_several_rows=False)
    back = read(file)
    assert back.column("text") == texts
    if suffix != ".jsonl":
        assert back.column("predicted_label") == texts


def test_dates_and_lists(tmp_path: Path) -> None:
    rows = part([{"day": date(2024, 1, 31), "words": ["a", "é"]}])
    for suffix in (".jsonl", ".csv", ".parquet"):
        save(tmp_path / f"o{suffix}", iter([(rows, [[{"a": 1}]])]), has_several_rows=False)
    assert json.loads((tmp_path / "o.jsonl").read_text())["day"] == "2024-01-31"
    line = (tmp_path / "o.csv").read_text().splitlines()[1]
    assert line == '2024-01-31,"[""a"", ""é""]",1'
    (row,) = pa.parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert row == {"day": date(2024, 1, 31), "words": ["a", "é"], "predicted_a": 1}


def test_names_of_class_labels_are_kept(tmp_path: Path) -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"])})
    rows = part([{"label": 1}], features)
    save(tmp_path / "o.parquet", iter([(rows, [[{"label": "no"}]])]), has_several_rows=False)
    back = read(tmp_path / "o.parquet")
    assert back.rows.features["label"].names == ["no", "yes"]
    assert back.column("predicted_label") == ["no"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_half_a_file_does_not_stay(suffix: str, tmp_path: Path) -> None:
    def interrupted() -> Iterator[Answered]:
        yield from parts([[{"a": 1}]])
        assert list(tmp_path.iterdir()), "something is being written"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / f"o{suffix}", interrupted(), has_several_rows=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[[{"a": 1}]], [[{"a": "x"}]]], "o.csv: cannot be written: "),
        ([[[{"a": 1}, {"a": 2}]]], "has_several_rows = True"),
        ([[[]]], "has_several_rows = True"),
    ],
)
def test_predictions_that_are_no_columns(
    answers: list[list[list[Record]]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        save(tmp_path / "o.csv", parts(*answers), has_several_rows=False)
    assert not list(tmp_path.iterdir())
