"""`expkit predict --file`: what is printed and written for many records, and what is refused."""

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import forked
from conftest import SMALL_TASKS, SURROUNDINGS

pytestmark = pytest.mark.slow

COUNT = 90  # more than the first part has
WORDS = ["the", "good", "film", "that", "Anna", "saw", "in", "London", "was", "bad"]
COLUMNS = {
    "text_classification": "sentence1",
    "text_regression": "text",
    "token_classification": "tokens",
    "multilabel_classification": "text",
    "masked_lm": "text",
    "translation": "zh",
}

Predict = Callable[..., "subprocess.CompletedProcess[str]"]


def record(i: int, task: str, rng: random.Random) -> dict[str, Any]:
    """A record of one of many lengths, with a column that no task asks for."""
    words = rng.choices(WORDS, k=1 + i % 23)
    text = "你好。" * (1 + i % 3) if task == "translation" else " ".join(words)
    if task == "masked_lm":
        text = "[MASK] " + " ".join(words[:5])
    return {"id": f"n{i}", COLUMNS[task]: text, "sentence2": "it is", "tags": [i, i]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with records for each task."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "outputs").mkdir()
    for task in SMALL_TASKS:
        rng = random.Random(0)
        lines = [json.dumps(record(i, task, rng), ensure_ascii=False) for i in range(COUNT)]
        (folder / f"{task}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def predict(folder: Path) -> Predict:
    """Ask the run of a task, which is trained when it is asked first."""
    runs: dict[str, str] = {}
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | SURROUNDINGS

    def ask(task: str, *options: str, fails: bool = False) -> "subprocess.CompletedProcess[str]":
        if task not in runs:
            known = {path.name for path in folder.glob("outputs/runs/*")}
            options_of_run = (*SMALL_TASKS[task], "train.max_steps=4", "optimizer.lr=0.05")
            done = forked.run_module("expkit", options_of_run, folder, environment, timeout=600)
            assert done.returncode == 0, done.stderr
            (runs[task],) = {path.name for path in folder.glob("outputs/runs/*")} - known
        arguments = (runs[task], *options)
        done = forked.run_module("expkit.predict", arguments, folder, environment, timeout=600)
        assert bool(done.returncode) == fails, done.stderr
        assert fails or not done.stderr
        return done

    return ask


def lines_of(text: str) -> list[Any]:
    return list(map(json.loads, text.splitlines()))


@pytest.mark.parametrize("task", SMALL_TASKS)
def test_each_format_holds_what_is_printed(task: str, predict: Predict, folder: Path) -> None:
    file = f"{task}.jsonl"
    asked = lines_of((folder / file).read_text())
    printed = lines_of(predict(task, "--file", file).stdout)
    assert [line[COLUMNS[task]] for line in printed] == [one[COLUMNS[task]] for one in asked]
    for suffix in ("jsonl", "csv", "parquet"):
        predict(task, "--file", file, "--out", f"{task}-out.{suffix}")
    answers = [line["predictions"] for line in printed]
    written = lines_of((folder / f"{task}-out.jsonl").read_text())
    assert written == [
        {**one, "predictions": rows} for one, rows in zip(asked, answers, strict=True)
    ]
    tables = (
        pd.read_csv(folder / f"{task}-out.csv", float_precision="round_trip"),
        pd.read_parquet(folder / f"{task}-out.parquet"),
    )
    for table in tables:
        assert table["id"].tolist() == [one["id"] for one in asked]
        if task in ("masked_lm", "token_classification"):
            assert [json.loads(text) for text in table["predictions"]] == answers
        else:
            for key in answers[0][0]:
                values = [row[key] for (row,) in answers]
                found = table[f"predicted_{key}"].tolist()
                if isinstance(values[0], list):
                    read = json.loads if table is tables[0] else list
                    assert list(map(read, found)) == values
                    continue
                assert list(map(str, found)) == list(map(str, values))
    assert [json.loads(text) for text in tables[0]["tags"]] == [one["tags"] for one in asked]
    assert [list(tags) for tags in tables[1]["tags"]] == [one["tags"] for one in asked]
    assert not list(folder.glob("*.unfinished"))


def test_probabilities_do_not_depend_on_the_other_records(predict: Predict, folder: Path) -> None:
    lines = (folder / "text_classification.jsonl").read_text().splitlines()
    (folder / "reversed.jsonl").write_text("\n".join(lines[::-1]))
    tables = []
    for name, more in (
        ("text_classification", ()),
        ("reversed", ()),
        ("bf16", ("--precision=bf16",)),
    ):
        file = "reversed.jsonl" if name == "reversed" else "text_classification.jsonl"
        out = f"{name}-all.parquet"
        predict("text_classification", "--file", file, "--out", out, "--probabilities", *more)
        tables.append(pd.read_parquet(folder / out).sort_values("id"))
    first, other, in_bf16 = (table[["p_0", "p_1"]].to_numpy() for table in tables)
    assert first.std() > 1e-3
    assert abs(first - other).max() < 1e-5
    assert abs(first.sum(1) - 1).max() < 1e-5
    labels = tables[0]["predicted_label"].map(int).tolist()
    assert labels == first.argmax(1).tolist()
    assert 1e-5 < abs(first - in_bf16).max() < 0.05


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (
            "text_classification",
            ["--out", "a.xlsx"],
            "a.xlsx: unknown kind of file; allowed: .jsonl",
        ),
        ("text_classification", ["--out", "no/a.csv"], "no/a.csv: has no such folder"),
        (
            "text_classification",
            ["--out", "text_classification.jsonl"],
            "text_classification.jsonl: exists; remove it, or name another file",
        ),
        ("translation", ["--probabilities"], "--probabilities: Translation predicts no labels"),
    ],
)
def test_what_cannot_be_written(
    task: str, options: list[str], message: str, predict: Predict, folder: Path
) -> None:
    before = sorted(folder.iterdir())
    done = predict(task, "--file", f"{task}.jsonl", *options, fails=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("expkit.predict: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_a_text_goes_into_no_file(predict: Predict) -> None:
    done = predict("text_classification", "--text", "a", "b", "--out", "a.csv", fails=True)
    assert done.stderr == (
        "expkit.predict: --out: is for the records of --file; leave it out with --text\n"
    )


def test_all_probabilities_of_a_text_are_a_table(predict: Predict) -> None:
    printed = predict("text_classification", "--text", "a", "b", "--probabilities").stdout
    cells = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    assert [label.strip() for label, _ in cells] == ["0", "1"]
    assert sum(float(p) for _, p in cells) == pytest.approx(1, abs=1e-3)


def test_a_column_of_the_file_is_not_overwritten(predict: Predict, folder: Path) -> None:
    records = [{"sentence1": "a", "sentence2": "b", "predicted_label": "1", "predictions": 5}]
    (folder / "taken.jsonl").write_text(json.dumps(records[0]))
    for out, column in (("taken.csv", "predicted_label"), ("taken-out.jsonl", "predictions")):
        done = predict("text_classification", "--file", "taken.jsonl", "--out", out, fails=True)
        assert f"the data have a column {column!r}" in done.stderr
        assert not list(folder.glob(f"{out}*"))


def test_a_record_that_cannot_be_answered_is_named(predict: Predict, folder: Path) -> None:
    lines = (folder / "masked_lm.jsonl").read_text().splitlines()
    lines[80] = lines[80].replace("[MASK]", "no mask")
    (folder / "wrong.jsonl").write_text("\n".join(lines))
    done = predict("masked_lm", "--file", "wrong.jsonl", fails=True)
    assert len(lines_of(done.stdout)) == 64, "what was printed before stays"
    assert done.stderr.startswith("expkit.predict: wrong.jsonl, line 81: 'no mask")
    predict("masked_lm", "--file", "wrong.jsonl", "--out", "wrong.csv", fails=True)
    assert not list(folder.glob("wrong.csv*"))


def test_a_bad_line_at_the_end_is_found_before_the_work(predict: Predict, folder: Path) -> None:
    text = (folder / "text_classification.jsonl").read_text()
    last = {**json.loads(text.splitlines()[-1]), "sentence2": None}
    (folder / "none.jsonl").write_text(f"{text}\n{json.dumps(last)}")
    done = predict("text_classification", "--file", "none.jsonl", fails=True)
    assert done.stdout == ""
    assert done.stderr == "expkit.predict: none.jsonl, line 91: sentence2=None is no text\n"
