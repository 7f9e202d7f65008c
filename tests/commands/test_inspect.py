"""`expkit inspect`: a table, the findings and a report, without a run."""

import json
from pathlib import Path

from conftest import Command
from expkit.processes.exits import BAD_INPUT, FAILED

TINY_DATA = (
    "model=tiny_bert",
    "model.hidden_size=32",
    "data=files",
    "data.train_file=train.jsonl",
    "data.validation_file=dev.csv",
    "task.text_columns=[text]",
    "task.label_column=kind",
)


def write(folder: Path) -> None:
    records = [{"text": f"sentence number {i}", "kind": "ab"[i % 2]} for i in range(8)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, records)))
    (folder / "dev.csv").write_text("text,kind\nsentence number 3,b\nsomething else,a\n")


def test_looks_at_the_data_and_makes_no_run(expkit: Command, project: Path) -> None:
    write(project)
    done = expkit("inspect", *TINY_DATA)
    assert done.returncode == 0, done.stderr
    assert "inputs that stand in train: 1 of 2, first dev.csv, line 2 (train.jsonl, line 4)" in (
        done.stdout
    )
    for fact in ("examples", "a (50%), b (50%)", "cut to 128 tokens", "tokens, 99 %"):
        assert fact in done.stdout
    report = json.loads((project / "outputs" / "data" / "report.json").read_text())
    assert report["validation"]["in_train"]["count"] == 1
    assert {entry.name for entry in (project / "outputs").iterdir()} == {"cache", "data"}


def test_bad_input_is_one_message(expkit: Command, project: Path) -> None:
    write(project)
    for typed, code, message in (
        ("data.train_fil=x", BAD_INPUT, "data.train_fil: no such key"),
        ("train.epochs=0", BAD_INPUT, "train.epochs=0: must be at least 1"),
        ("task.label_column=kid", FAILED, "has no column 'kid'"),
        ("seed:1", BAD_INPUT, "seed:1: not an override; write key=value"),
    ):
        done = expkit("inspect", *TINY_DATA, typed)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert message in done.stderr
        assert done.stderr.startswith("expkit.inspect: ")
