"""`expkit.predict`: what a file may hold, and what the command prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import SMALL_TASKS, Command, composed
from expkit.commands.predict import _typed, parser
from expkit.config.components import make
from expkit.data.files import Reading, read
from expkit.data.splits import Record
from expkit.terminal.errors import DataError, UserError


def asked(folder: Path, task: str, records: list[Any], *options: str) -> list[Record]:
    """What a task gets to answer from a file with these records."""
    file = folder / "asked.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    made = make(composed(f"task={task}", *options), "task")
    return list(made.inputs(read(file)))


# name: (task, records of the file, records that the task is asked)
GOOD: dict[str, tuple[str, list[Record], list[Record]]] = {
    "a text": ("masked_lm", [{"text": "a [MASK]", "id": 1}], [{"text": "a [MASK]"}]),
    "a pair": (
        "text_classification",
        [{"sentence1": "a", "sentence2": "b", "label": None}],
        [{"sentence1": "a", "sentence2": "b"}],
    ),
    "a sentence": ("token_classification", [{"tokens": "a b"}], [{"tokens": "a b"}]),
    "words": (
        "token_classification",
        [{"tokens": ["a", "b"], "ner_tags": ["O", "O"]}, {"tokens": [], "ner_tags": []}],
        [{"tokens": ["a", "b"]}, {"tokens": []}],
    ),
    "a source": ("translation", [{"zh": "你好", "ja": "a"}], [{"zh": "你好"}]),
    "a nested source": (
        "translation",
        [{"translation": {"zh": "你好"}, "id": 1}, {"translation": {"zh": "再见", "ja": "a"}}],
        [{"zh": "你好"}, {"zh": "再见"}],
    ),
}


@pytest.mark.parametrize(("task", "records", "expected"), GOOD.values(), ids=list(GOOD))
def test_records_need_no_labels(
    task: str, records: list[Record], expected: list[Record], tmp_path: Path
) -> None:
    columns = set().union(*records)
    whole = [{**dict.fromkeys(columns), **record} for record in records]
    assert asked(tmp_path, task, whole) == expected


def test_one_text_is_typed_for_each_column() -> None:
    assert _typed(["sentence1", "sentence2"], ["a", "b"]) == {"sentence1": "a", "sentence2": "b"}
    for columns, texts in ((["sentence1", "sentence2"], ["a"]), (["zh"], ["你好", "再见"])):
        with pytest.raises(UserError, match=f"got {len(texts)} texts.*: {', '.join(columns)}"):
            _typed(columns, texts)


# name: (task, records of the file, what the message must say behind the name of the file)
BAD: dict[str, tuple[str, list[Record], str]] = {
    "text that is none": (
        "text_classification",
        [{"sentence1": "a", "sentence2": "b"}, {"sentence1": "a", "sentence2": None}],
        ", line 2: sentence2=None is no text",
    ),
    "no such column": ("masked_lm", [{"txt": "a"}], ": has no column 'text'; allowed: txt"),
    "a number for a text": ("masked_lm", [{"text": 5}], ", line 1: text=5 is no text"),
    "a number for a sentence": (
        "token_classification",
        [{"tokens": 5}],
        ", line 1: tokens=5 is neither a text nor a list of words",
    ),
    "a word that is none": (
        "token_classification",
        [{"tokens": ["a"]}, {"tokens": ["a", None]}],
        ", line 2: tokens=['a', None] is neither a text nor a list of words",
    ),
    "a number for a source": ("translation", [{"zh": 5}], ", line 1: zh=5 is no text"),
    "an empty source": ("translation", [{"zh": "你"}, {"zh": " "}], ", line 2: zh=' ' is empty"),
    "a nested number": ("translation", [{"translation": {"zh": 5}}], ", line 1: zh=5 is no text"),
    "a nested record without the language": (
        "translation",
        [{"translation": {"zh": "你"}}, {"translation": {"ja": "a"}}],
        ", line 2: translation has no 'zh'; allowed: ja",
    ),
    "no language": ("translation", [{"en": "a"}], ": has no column 'zh'; allowed: en"),
}


@pytest.mark.parametrize(("task", "records", "message"), BAD.values(), ids=list(BAD))
def test_records_that_cannot_be_answered(
    task: str, records: list[Record], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as raised:
        asked(tmp_path, task, records)
    assert str(raised.value).startswith(f"{tmp_path / 'asked.jsonl'}{message}")


def rows(printed: str) -> list[list[str]]:
    """The cells of a table without its head."""
    lines = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line] for line in lines]


def trained(expkit: Command, project: Path, task: str) -> str:
    """The id of a run of two steps."""
    done = expkit(*SMALL_TASKS[task], "train.max_steps=2")
    assert done.returncode == 0, done.stderr
    (folder,) = (project / "outputs" / "runs").iterdir()
    return folder.name


def test_the_command_fills_masks(expkit: Command, project: Path) -> None:
    run = trained(expkit, project, "masked_lm")
    done = expkit(run, "--text", "She [MASK] the [MASK].", module="expkit.predict")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].strip() == "She [MASK] the [MASK]."
    found = rows(done.stdout)
    assert [cells[0] for cells in found] == ["1"] * 5 + ["2"] * 5
    for mask in (found[:5], found[5:]):
        probabilities = [float(cells[2]) for cells in mask]
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(cells[1] for cells in mask)


def test_the_command_translates(expkit: Command, project: Path) -> None:
    run = trained(expkit, project, "translation")
    done = expkit(run, "--text", "你好。", module="expkit.predict")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].strip() == "你好。"
    assert len(rows(done.stdout)) == 1
    (project / "asked.jsonl").write_text('{"translation": {"zh": 5}}')
    done = expkit(run, "--file", "asked.jsonl", module="expkit.predict")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "expkit.predict: asked.jsonl, line 1: zh=5 is no text\n"


def test_a_file_of_words_and_tags_has_the_columns_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "asked.conll"
    file.write_text("1 Anna B-PER O\n2 sings O O\n")
    task = make(composed("task=token_classification"), "task")
    split = read(file, reading=Reading(conll={"columns": ["id", "word", "tag", "_"]}))
    assert task.inputs(split) == [{"tokens": ["Anna", "sings"]}]


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--text", "-great"], ["-great"]),
        (["--text=-great"], ["-great"]),
        (["--text", "--", "-1"], ["--", "-1"]),
        (["--text", "a", "--b c", "-h2", "--trust", "mine"], ["a", "--b c", "-h2"]),
        (["--trust", "mine", "--text", "-5", ""], ["-5", ""]),
    ],
)
def test_a_text_may_begin_with_a_hyphen(arguments: list[str], texts: list[str]) -> None:
    options = parser().parse_args(["0123abcd", *arguments])
    assert (options.run_id, options.text) == ("0123abcd", texts)
