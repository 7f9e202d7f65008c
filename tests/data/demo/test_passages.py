"""The masked-language-model demo: unseen passages, a small vocabulary, and facts that hold."""

import os
import re
import subprocess
import sys

import pytest

from expkit.data.demo import passages

SIZE = 1000
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def texts(split: str, size: int, seed: int) -> list[str]:
    return [record["text"] for record in passages.examples(split, size, seed)]


@pytest.fixture(scope="module")
def splits() -> dict[str, list[str]]:
    return {split: texts(split, SIZE, 3) for split in ("train", "validation", "test")}


def test_passages_are_the_same_in_every_process() -> None:
    code = "from expkit.data.demo.passages import examples; print(list(examples('train', 200, 7)))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].strip() == str(list(passages.examples("train", 200, 7)))


def test_seed_and_split_change_the_passages() -> None:
    assert texts("train", 50, 0) != texts("train", 50, 1)
    assert texts("validation", 50, 0) != texts("test", 50, 0)


@pytest.mark.parametrize("size", [0, 1, 37, 250])
def test_short_data_set_is_the_beginning_of_a_longer_one(
    splits: dict[str, list[str]], size: int
) -> None:
    assert texts("train", size, 3) == splits["train"][:size]


def test_no_passage_occurs_twice(splits: dict[str, list[str]]) -> None:
    for found in splits.values():
        assert len(set(found)) == len(found) == SIZE


def test_no_passage_belongs_to_two_splits_whatever_the_seed() -> None:
    # Some frames are small enough for the splits to collide if nothing kept them apart.
    found = {
        split: {text for seed in range(2) for text in texts(split, 500, seed)}
        for split in ("train", "validation", "test")
    }
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]


def test_length_in_sentences(splits: dict[str, list[str]]) -> None:
    for text in splits["train"]:
        assert 3 <= len(re.findall(r'[.?!]"?(?= |$)', text)) <= 6, text


def test_spelling(splits: dict[str, list[str]]) -> None:
    for text in splits["train"]:
        assert not re.search(r'[{}\[\]]|  |(?:^|[.?!] )"?[a-z]', text), text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text


def test_vocabulary_is_small_and_every_validation_word_is_trained_on(
    splits: dict[str, list[str]],
) -> None:
    def words(found: list[str]) -> set[str]:
        return {word for text in found for word in re.findall(r"\w+", text.lower())}

    trained = words(texts("train", 3 * SIZE, 0))
    assert 200 < len(trained) < 600
    assert words(splits["validation"]) | words(splits["test"]) <= trained


def test_weekdays_and_sums_are_right(splits: dict[str, list[str]]) -> None:
    text = " ".join(splits["train"])
    after = set(re.findall(r"[Aa]fter (\w+day) comes (\w+day)", text))
    assert after == set(zip(DAYS, DAYS[1:] + DAYS[:1], strict=True))
    sums = set(re.findall(r"(\w+) and (\w+) make (\w+)", text.lower()))
    assert {("two", "two", "four"), ("five", "five", "ten"), ("ten", "ten", "twenty")} <= sums
    assert len(sums) == 9


def test_months_belong_to_one_season(splits: dict[str, list[str]]) -> None:
    pairs = set(re.findall(r"(\w+) is in (winter|spring|summer|autumn)", " ".join(splits["train"])))
    assert len(pairs) == 12
    assert {("January", "winter"), ("April", "spring"), ("July", "summer")} <= pairs
    assert {("December", "winter"), ("October", "autumn")} <= pairs


def test_every_frame_is_used_early() -> None:
    patterns = [
        re.compile(re.sub(r"\\\{\w+\\\[\w+\\\]\\\}", ".+", re.escape(frame)), re.IGNORECASE)
        for frame in passages.FRAMES
    ]
    found = texts("validation", 60, 0)
    assert len(set(passages.FRAMES)) >= 20
    assert all(any(map(pattern.fullmatch, found)) for pattern in patterns)


@pytest.mark.parametrize("split", ["dev", "", "Train"])
def test_unknown_split_is_refused_at_the_call(split: str) -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        passages.examples(split, 1, 0)


def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        passages.examples("train", -1, 0)


def test_running_out_of_passages_is_an_error_and_not_an_endless_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passages, "FRAMES", ("today is {day[name]}.",))
    with pytest.raises(ValueError, match="no more than"):
        texts("train", 8, 0)
