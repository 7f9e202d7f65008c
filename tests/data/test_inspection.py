"""What is found in data: mistakes that were planted, and nothing where there are none."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from faker import Faker
from transformers import BertConfig

from conftest import composed, encoded_by
from expkit.config.components import make
from expkit.data.files import load
from expkit.data.inspection import inspected, lines
from expkit.data.similar import LEAST_SIMILARITY, first_similar
from expkit.data.splits import Record
from small_tokenizers import wordpiece

TEXTS = ("task.text_columns=[text]",)
WORDS = ("task=token_classification",)


def report_on(
    folder: Path, train: list[Any], validation: list[Any], *options: str, full: bool = False
) -> dict[str, Any]:
    """The report on two files with these records."""
    for name, records in (("train", train), ("validation", validation)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    splits = load(str(folder / "train.jsonl"), str(folder / "validation.jsonl"), None, None, None)
    task = make(composed(*options), "task")
    task.setup(splits)
    tokenizer = wordpiece(list(task.texts(splits.train)))
    tokenizer.model_max_length = task.max_length
    encoded = {
        name: encoded_by(task.encode(split, tokenizer, BertConfig()))
        for name, split in splits.named().items()
    }
    return inspected(task, splits.named(), encoded, tokenizer, full)


def labelled(*texts: str, label: str = "good") -> list[Record]:
    return [{"text": text, "label": label} for text in texts]


BOTH = labelled("a good one") + labelled("a bad one", label="bad")


def edited(sentence: str, rng: random.Random) -> str:
    """The sentence after an edit that a reader may not see."""
    words = sentence.split()
    place = rng.randrange(len(words) - 1)
    edits = {
        "drop": words[:place] + words[place + 1 :],
        "repeat": [*words[:place], words[place], *words[place:]],
        "another": [*words[:place], "somewhat", *words[place + 1 :]],
        "swap": [*words[:place], *words[place : place + 2][::-1], *words[place + 2 :]],
        "end": [*words[:-1], words[-1].rstrip(".") + " !"],
        "case": sentence.upper().split(),
    }
    return " ".join(edits[rng.choice(sorted(edits))])


def test_planted_mistakes_are_found(tmp_path: Path) -> None:
    faker, rng = Faker("en_US"), random.Random(0)
    faker.seed_instance(0)
    sentences = [faker.unique.sentence(12) for _ in range(1500)]
    labels = ["good", "bad"]
    train = [{"text": s, "label": rng.choice(labels)} for s in sentences[:1000]]
    validation = [{"text": s, "label": rng.choice(labels)} for s in sentences[1000:]]
    leaks, conflicts, near = train[:50], train[50:70], train[70:100]
    validation += leaks
    validation += [{**r, "text": edited(r["text"], rng)} for r in near]
    train += [{**r, "label": labels[r["label"] == "good"]} for r in conflicts]
    report = report_on(tmp_path, train, validation, *TEXTS, full=True)
    assert report["train"]["ambiguous"]["count"] == 20
    assert report["validation"]["in_train"]["count"] == 50
    assert report["validation"]["in_train"]["positions"] == list(range(500, 550))
    assert 27 <= report["validation"]["almost_in_train"]["count"] <= 30
    for split, key in (("train", "empty"), ("validation", "repeated"), ("validation", "ambiguous")):
        assert report[split][key]["count"] == 0


def test_each_finding_names_file_and_line(tmp_path: Path) -> None:
    train = (
        BOTH + labelled("a good one", label="bad") + labelled("  ") + labelled("rare", label="odd")
    )
    report = report_on(tmp_path, train, BOTH, *TEXTS)
    found = "\n".join(lines(report))
    here, there = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    for line in (
        "train: labels good (40%), bad (40%), odd (20%); tokens ",
        f"WARNING: train: empty or blank inputs: 1 of 5, first {here}, line 4",
        f"WARNING: train: inputs that repeat an earlier one: 1 of 5, first {here}, line 3 ({here}, line 1)",
        f"WARNING: train: inputs with several answers: 1 of 5, first {here}, line 3 ({here}, line 1)",
        f"WARNING: validation: inputs that stand in train: 2 of 2, first {there}, line 1 ({here}, line 1)",
        "WARNING: validation: no example has the label odd",
    ):
        assert line in found, found
    json.dumps(report)


def test_nothing_is_said_about_good_data(tmp_path: Path) -> None:
    report = report_on(tmp_path, BOTH, labelled("other") + labelled("words", label="bad"), *TEXTS)
    assert len(list(lines(report))) == 2  # one line for each split


def test_many_labels_are_one_short_line(tmp_path: Path) -> None:
    records = [{"text": f"text {i}", "label": f"label{i}"} for i in range(150)]
    first, *_ = lines(report_on(tmp_path, records, records[:1], *TEXTS))
    assert "label4 (1%) and 145 more; tokens" in first


def test_ids_and_their_names_are_one_label(tmp_path: Path) -> None:
    ids = [{"text": f"text {i}", "label": i % 2} for i in range(4)]
    names = labelled("other") + labelled("words", label="bad")
    report = report_on(tmp_path, ids, names, *TEXTS, "task.labels=[good,bad]")
    assert report["train"]["labels"] == {"good": 2, "bad": 2}
    assert not report["validation"]["lacks"]


def test_both_texts_of_a_pair_count(tmp_path: Path) -> None:
    def pair(one: str, two: str, label: str) -> Record:
        return {"sentence1": one, "sentence2": two, "label": label}

    train = [
        pair("a b", "c", "x"),
        pair("a", "b c", "y"),
        pair("c", "a b", "x"),
        pair("d", "", "y"),
    ]
    report = report_on(tmp_path, train, [pair("a b", "c", "x")])
    assert report["train"]["repeated"]["count"] == 0
    assert report["train"]["empty"]["count"] == 1
    assert report["validation"]["in_train"]["count"] == 1


def test_tags_are_counted_by_entity_and_differ_by_word(tmp_path: Path) -> None:
    def tagged(*tags: str) -> Record:
        return {"tokens": ["Ada", "of", "Rome"], "ner_tags": list(tags)}

    train = [
        tagged("B-PER", "I-PER", "I-PER"),
        tagged("B-PER", "O", "B-LOC"),
        tagged("O", "O", "B-LOC"),
    ]
    report = report_on(tmp_path, train, train[2:], *WORDS)
    assert report["train"]["labels"] == {"PER": 2, "LOC": 2}
    assert report["train"]["ambiguous"]["count"] == 1
    assert report["validation"]["lacks"] == ["PER"]


def test_running_text_may_repeat_itself(tmp_path: Path) -> None:
    texts = [{"text": "The same line of a novel, and it is long enough."}] * 4
    report = report_on(tmp_path, texts, texts, "task=masked_lm", "task.block_size=8")
    assert report["validation"]["in_train"] == {
        **report["validation"]["in_train"],
        "count": 4,
        "positions": [],
    }
    assert not [line for line in lines(report) if "WARNING" in line]


def test_what_is_long_or_unknown_is_counted(tmp_path: Path) -> None:
    long = " ".join(["good"] * 30)
    report = report_on(
        tmp_path, BOTH + labelled(long), labelled("good ☃"), *TEXTS, "task.max_length=16"
    )
    tokens = report["train"]["tokens"]
    assert (tokens["longest"], tokens["limit"], tokens["at_limit"]) == (16, 16, 1)
    assert report["train"]["unknown_tokens"] == 0
    assert report["validation"]["unknown_tokens"] == pytest.approx(1 / 2)


@pytest.mark.slow
def test_similar_texts_are_those_with_a_large_jaccard_index() -> None:
    """Texts of all similarities, from a sentence whose words are replaced one after the other."""
    faker = Faker("en_US")
    faker.seed_instance(0)
    texts = {}
    for start in range(0, 4000, 20):
        words = faker.words(14)
        texts[start] = " ".join(words)
        for i in range(1, 14):
            words[i] = faker.word()
            texts[start + i] = " ".join(words)
    originals = [text for key, text in texts.items() if key % 20 == 0]

    def pieces(text: str) -> set[str]:
        return {text.lower()[i : i + 3] for i in range(len(text) - 2)}

    def similarity(one: str, other: str) -> float:
        return len(pieces(one) & pieces(other)) / len(pieces(one) | pieces(other))

    expected = {
        key
        for key, text in texts.items()
        if any(similarity(text, other) >= LEAST_SIMILARITY for other in originals)
    }
    found = first_similar(texts, originals)
    assert found.keys() <= expected
    assert len(found) >= 0.99 * len(expected) > 300
