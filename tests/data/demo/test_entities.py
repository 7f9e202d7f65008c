"""The named-entity demo: valid tags, and a validation score that cannot come from memory."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from expkit.data.demo import entities

SIZE = 1000

# The words of multi-word names that are not themselves names ("University of Jena").
SHARED_WORDS = {
    *("University", "of", "College", "Institute", "Bank", "and", "Sons", "&", "Port", "New"),
    *("Island", "Inc", "Ltd", "LLC", "PLC", "Group", "GmbH", "AG", "SA", "Holdings", "Logistics"),
    *("Foods", "Airways", "Motors", "Insurance", "Pharma", "Steel", "Media"),
}

Record = dict[str, Any]


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Record]]:
    return {
        split: list(entities.examples(split, SIZE, 3)) for split in ("train", "validation", "test")
    }


def spans(record: Record) -> list[tuple[str, list[str]]]:
    """(type, tokens) of every entity in the record."""
    found: list[tuple[str, list[str]]] = []
    for token, tag in zip(record["tokens"], record["ner_tags"], strict=True):
        if tag.startswith("B-"):
            found.append((tag[2:], [token]))
        elif tag.startswith("I-"):
            found[-1][1].append(token)
    return found


def names(records: list[Record]) -> set[str]:
    """Every word of a person, an organisation or a place, as an uncased tokenizer sees it."""
    words = {
        word
        for record in records
        for kind, tokens in spans(record)
        if kind != "DATE"
        for word in tokens
    }
    return {entities._key(word) for word in words - SHARED_WORDS}


def matching_frames(records: list[Record]) -> set[str]:
    """The frames that at least one of the records could have come from."""
    patterns = {
        frame: re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(frame)))
        for frame in entities.FRAMES
    }
    texts = [" ".join(record["tokens"]) for record in records]
    return {frame for frame, regex in patterns.items() if any(map(regex.fullmatch, texts))}


def test_records_are_the_same_in_every_process() -> None:
    code = "from expkit.data.demo.entities import examples; print(list(examples('train', 200, 7)))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].strip() == str(list(entities.examples("train", 200, 7)))


def test_seed_and_split_change_the_sentences() -> None:
    def tokens(split: str, seed: int) -> list[list[str]]:
        return [record["tokens"] for record in entities.examples(split, 50, seed)]

    assert tokens("train", 0) != tokens("train", 1)
    assert tokens("validation", 0) != tokens("test", 0)


@pytest.mark.parametrize("size", [0, 1, 37, 250])
def test_short_data_set_is_the_beginning_of_a_longer_one(
    splits: dict[str, list[Record]], size: int
) -> None:
    assert list(entities.examples("validation", size, 3)) == splits["validation"][:size]


def test_size_and_ids(splits: dict[str, list[Record]]) -> None:
    ids = [record["id"] for records in splits.values() for record in records]
    assert [len(records) for records in splits.values()] == [SIZE] * 3
    assert len(set(ids)) == 3 * SIZE


def test_tags_are_valid_bio(splits: dict[str, list[Record]]) -> None:
    allowed = {"O"} | {
        f"{place}-{kind}" for kind in ("PER", "ORG", "LOC", "DATE") for place in "BI"
    }
    seen = set()
    for record in splits["train"]:
        tags = record["ner_tags"]
        assert len(tags) == len(record["tokens"])
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before[1:] == tag[1:], record
        seen.update(tags)
    assert seen == allowed


def test_tokens_are_words_or_single_punctuation_marks(splits: dict[str, list[Record]]) -> None:
    tokens = {token for records in splits.values() for r in records for token in r["tokens"]}
    odd = {token for token in tokens if not re.fullmatch(r"\w+(-\w+)*|[^\w\s]", token)}
    assert not odd


@pytest.mark.parametrize(
    ("left", "right"), [("train", "validation"), ("train", "test"), ("validation", "test")]
)
def test_splits_share_no_names_and_no_sentences(
    splits: dict[str, list[Record]], left: str, right: str
) -> None:
    for here, there in ((left, right), (right, left)):
        own = names(splits[here])
        assert len(own) > 300
        # The verb "may" is in every split; as a name, May is a word of one split like the others.
        others = {entities._key(word) for r in splits[there] for word in r["tokens"]} - {"may"}
        assert not own & others
    sentences = [{tuple(r["tokens"]) for r in splits[split]} for split in (left, right)]
    assert not sentences[0] & sentences[1]


def test_no_sentence_occurs_twice(splits: dict[str, list[Record]]) -> None:
    for records in splits.values():
        assert len({tuple(record["tokens"]) for record in records}) == SIZE


def test_names_that_the_spelling_alone_does_not_tell_apart(
    splits: dict[str, list[Record]],
) -> None:
    kinds: dict[str, set[str]] = {}
    for record in splits["train"]:
        for kind, tokens in spans(record):
            if len(tokens) == 1:
                kinds.setdefault(tokens[0], set()).add(kind)
    assert kinds["May"] == {"PER", "DATE"}
    assert sum(found == {"PER", "LOC"} for found in kinds.values()) >= 20
    assert sum(found == {"PER", "ORG"} for found in kinds.values()) >= 5


def test_every_split_uses_many_frames_and_holds_some_out(splits: dict[str, list[Record]]) -> None:
    used = {split: matching_frames(records) for split, records in splits.items()}
    assert len(set(entities.FRAMES)) == len(entities.FRAMES) >= 40
    assert len(used["train"]) >= 50
    assert len(matching_frames(splits["validation"][:60])) >= 30
    assert len(used["validation"] - used["train"] - used["test"]) >= 5
    assert len(used["test"] - used["train"] - used["validation"]) >= 5


def test_some_sentences_have_no_entity(splits: dict[str, list[Record]]) -> None:
    for records in splits.values():
        empty = sum(not spans(record) for record in records)
        assert 0.05 * SIZE < empty < 0.2 * SIZE


@pytest.mark.parametrize("split", ["dev", "", "Train"])
def test_unknown_split_is_refused_at_the_call(split: str) -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        entities.examples(split, 1, 0)


def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        entities.examples("train", -1, 0)


def test_running_out_of_sentences_is_an_error_and_not_an_endless_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entities, "FRAMES", ("We met on {DAY} .",))
    with pytest.raises(ValueError, match="no more than"):
        list(entities.examples("train", 5000, 0))
