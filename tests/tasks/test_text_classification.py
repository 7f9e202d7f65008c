"""Labels as names or ids, one text or two, and what a task makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig

from conftest import composed, encoded_by
from expkit.config.components import make
from expkit.data.files import load
from expkit.data.splits import Splits
from expkit.models.scratch import TinyBert
from expkit.tasks.text_classification import TextClassification
from expkit.terminal.errors import DataError


def task(**settings: Any) -> TextClassification:
    overrides = [f"task.{key}={json.dumps(value)}" for key, value in settings.items()]
    return make(composed(*overrides), "task")


def splits(folder: Path, train: list[dict[str, Any]], validation: list[dict[str, Any]]) -> Splits:
    for name, records in (("train", train), ("validation", validation)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    return load(str(folder / "train.jsonl"), str(folder / "validation.jsonl"), None, None, None)


def pairs(*labels: Any) -> list[dict[str, Any]]:
    return [{"sentence1": f"a b {i}", "sentence2": "c d", "label": x} for i, x in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "settings", "names", "ids"),
    [
        ((0, 1, 0), {}, ["0", "1"], [0, 1, 0]),
        (("1", "0", "1"), {}, ["0", "1"], [1, 0, 1]),
        (("yes", "no", "yes"), {}, ["no", "yes"], [1, 0, 1]),
        (("yes", "no", "no"), {"labels": ["yes", "no"]}, ["yes", "no"], [0, 1, 1]),
        ((1, 0, 1), {"labels": ["different", "same"]}, ["different", "same"], [1, 0, 1]),
        ((5, 1, 10), {}, ["1", "5", "10"], [1, 0, 2]),
    ],
)
def test_labels_are_names_or_ids(
    labels: tuple[Any, ...],
    settings: dict[str, Any],
    names: list[str],
    ids: list[int],
    tmp_path: Path,
) -> None:
    classification = task(**settings)
    data = splits(tmp_path, pairs(*labels), pairs(*labels))
    classification.setup(data)
    assert list(classification.head().config["id2label"].values()) == names
    tokenizer = TinyBert(100, 8, 1, 1, 0.0).tokenizer(classification.texts(data.train))
    assert (
        list(encoded_by(classification.encode(data.train, tokenizer, BertConfig()))["labels"])
        == ids
    )


def test_a_label_that_training_does_not_know(tmp_path: Path) -> None:
    data = splits(tmp_path, pairs("no", "yes"), pairs("no", "yse"))
    with pytest.raises(
        DataError, match=r"validation.jsonl, line 2: label='yse'.*did you mean 'yes'"
    ):
        task().setup(data)


@pytest.mark.parametrize("third", [None, "", " ", "a ", "A"])
def test_a_value_that_is_no_label_or_almost_another(third: Any, tmp_path: Path) -> None:
    data = splits(tmp_path, pairs("a", "b", third), pairs("a", "b"))
    with pytest.raises(DataError, match=r"train.jsonl, line 3: label"):
        task().setup(data)


def test_numbers_are_no_ids_of_names_that_were_found(tmp_path: Path) -> None:
    data = splits(tmp_path, pairs("1.0", "2.0", "3.0"), pairs(1, 2))
    with pytest.raises(DataError, match=r"validation.jsonl, line 1: label=1, .* is not among"):
        task().setup(data)


def test_pairs_are_encoded_as_pairs_and_cut_to_max_length(tmp_path: Path) -> None:
    classification = task(max_length=8)
    records = [{"sentence1": "a b c d e f g", "sentence2": "h i", "label": i % 2} for i in range(2)]
    data = splits(tmp_path, records, records)
    classification.setup(data)
    tokenizer = TinyBert(100, 8, 1, 1, 0.0).tokenizer(classification.texts(data.train))
    tokenizer.model_max_length = 8
    encoded = encoded_by(classification.encode(data.train, tokenizer, BertConfig()))
    tokens = tokenizer.convert_ids_to_tokens(encoded[0]["input_ids"])
    assert tokens == ["[CLS]", "a", "b", "c", "[SEP]", "h", "i", "[SEP]"]
    assert encoded["length"][0] == 8
    facts = classification.describe(data, tokenizer)
    assert facts["train: cut to 8 tokens"] == "100.0%"
    assert facts["train: labels"] == "0 50%, 1 50%"


def test_batches_are_padded_to_their_longest(tmp_path: Path) -> None:
    classification = task()
    data = splits(tmp_path, pairs(0, 1), pairs(0, 1))
    classification.setup(data)
    tokenizer = TinyBert(100, 8, 1, 1, 0.0).tokenizer(classification.texts(data.train))
    collate = classification.collator(tokenizer, model=None)  # type: ignore[arg-type]
    short = {"input_ids": [2, 3], "attention_mask": [1, 1], "labels": 1, "length": 2}
    long = {"input_ids": [2, 5, 3], "attention_mask": [1, 1, 1], "labels": 0, "length": 3}
    batch = collate([short, long], [0, 1])
    assert batch["input_ids"].tolist() == [[2, 3, 0], [2, 5, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [1, 0]


def test_baseline_names_the_most_frequent_label_of_the_training_split(tmp_path: Path) -> None:
    classification = task()
    data = splits(tmp_path, pairs(1, 1, 0), pairs(0, 0, 0, 1))
    encoded = {"train": {"labels": [1, 1, 0]}, "validation": {"labels": [0, 0, 0, 1]}}
    assert classification.baseline(data, encoded)["majority_accuracy"] == 0.25  # type: ignore[arg-type]
