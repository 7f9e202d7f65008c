"""The generated paraphrases: reproducible, free of leaks, and not solvable by counting words."""

import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from expkit.data.demo import paraphrases
from expkit.data.demo.drawing import SPLITS
from expkit.data.demo.paraphrases import FRAMES, examples, names, words

Record = dict[str, Any]
PRINT_RECORDS = """
import json
from expkit.data.demo.paraphrases import examples
print(json.dumps(list(examples("test", 30, 5))))
"""


@cache
def records(split: str, size: int = 1000) -> tuple[Record, ...]:
    return tuple(examples(split, size, seed=0))


def all_names(split: str) -> set[str]:
    return {name for pool in names(split).values() for name in pool}


def named(sentence: str, pool: set[str]) -> Counter[str]:
    return Counter(word for word in re.findall(r"\w+", sentence) if word in pool)


def quantity(sentence: str) -> set[str]:
    """Digits, months and units of a sentence, with number words turned into digits."""
    digits = {word: str(n) for n, word in enumerate(paraphrases.NUMBERS, start=2)}
    months = {month.lower() for month in paraphrases.MONTHS}
    found = [digits.get(word, word) for word in words(sentence)]
    return {w for w in found if w.isdigit() or w in months or w in paraphrases.UNITS}


def kind(record: Record, pool: set[str]) -> str:
    """What the texts themselves say about the difference of the two sentences."""
    one, two = record["sentence1"], record["sentence2"]
    if named(one, pool) != named(two, pool):
        return "name"
    return "same facts" if quantity(one) == quantity(two) else "quantity"


def overlap_features(record: Record) -> list[float]:
    one, two = words(record["sentence1"]), words(record["sentence2"])
    shared, union = len({*one} & {*two}), len({*one} | {*two})
    return [shared / union, shared, union - shared, abs(len(one) - len(two)), len(one) + len(two)]


def test_a_fresh_process_with_another_hash_seed_yields_the_same_records() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PRINT_RECORDS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("sentence1") == 30


def test_seed_and_split_change_the_records() -> None:
    assert list(examples("train", 50, 0)) == list(examples("train", 50, 0))
    assert list(examples("train", 50, 0)) != list(examples("train", 50, 1))
    assert list(examples("train", 50, 0)) != list(examples("test", 50, 0))


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 137])
def test_a_shorter_run_is_a_prefix_of_a_longer_one(size: int) -> None:
    assert list(examples("validation", size, 3)) == list(examples("validation", 140, 3))[:size]


@pytest.mark.parametrize("split", ["dev", "", "Train"])
def test_an_unknown_split_is_refused_at_the_call(split: str) -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        examples(split, 1, 0)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        examples("train", -1, 0)


@pytest.mark.parametrize(("one", "two"), list(combinations(SPLITS, 2)))
def test_no_name_of_a_split_occurs_in_another(one: str, two: str) -> None:
    assert not all_names(one) & all_names(two)
    for here, other in ((one, two), (two, one)):
        texts = " ".join(f"{r['sentence1']} {r['sentence2']}" for r in records(here))
        assert len(named(texts, all_names(here))) > 200
        assert not named(texts, all_names(other))


@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_balanced_and_no_pair_is_repeated(split: str) -> None:
    pairs = {frozenset((r["sentence1"], r["sentence2"])) for r in records(split)}
    assert len(records(split)) == len(pairs) == 1000
    assert all(len(pair) == 2 for pair in pairs), "a sentence is paired with itself"
    assert 0.45 <= sum(r["label"] for r in records(split)) / 1000 <= 0.55
    assert {type(r["label"]) for r in records(split)} == {int}


def test_a_pair_drawn_twice_is_yielded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = next(frame for frame in FRAMES if (frame.roles, frame.quantity) == ("city", "count"))
    monkeypatch.setattr(paraphrases, "FRAMES", (frame,))
    few = {"city": ("Bern", "Bonn", "Lyon", "Rome")}
    monkeypatch.setattr(paraphrases, "names", lambda split: few)
    drawn = examples("train", 600, 0)
    pairs = [frozenset((r["sentence1"], r["sentence2"])) for r in drawn]
    assert len(pairs) == len(set(pairs)) == 600


@pytest.mark.parametrize("split", SPLITS)
def test_positives_keep_the_facts_and_negatives_change_them_in_three_ways(split: str) -> None:
    pool = all_names(split)
    kinds = {label: Counter[str]() for label in (0, 1)}
    for record in records(split):
        kinds[record["label"]][kind(record, pool)] += 1
    assert set(kinds[1]) == {"same facts"}
    # Negatives with the same names and numbers are the swapped ones.
    assert set(kinds[0]) == {"same facts", "quantity", "name"}
    assert min(kinds[0].values()) >= 0.2 * sum(kinds[0].values())


def test_active_and_passive_tell_the_roles_apart() -> None:
    """Follows who beat whom through the texts, for one verb that has both voices."""
    active, passive = re.compile(r"(\w+) beat (?:Dr )?(\w+)"), re.compile(r"(\w+) was beaten .*by")
    every_name = set().union(*(all_names(split) for split in SPLITS))
    checked = Counter[int]()
    for record in (record for split in SPLITS for record in records(split)):
        loser = []
        for sentence in (record["sentence1"], record["sentence2"]):
            if match := active.search(sentence):
                loser.append(match[2])
            elif match := passive.search(sentence):
                loser.append(match[1])
        if len(loser) == 2 and kind(record, every_name) == "same facts":
            assert (loser[0] == loser[1]) == bool(record["label"]), record
            checked[record["label"]] += 1
    assert min(checked[0], checked[1]) >= 5


def test_word_overlap_does_not_give_the_label_away() -> None:
    train, validation = records("train"), records("validation")
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit([overlap_features(r) for r in train], [r["label"] for r in train])
    score = model.score([overlap_features(r) for r in validation], [r["label"] for r in validation])
    assert score < 0.62


def test_frames_are_varied_and_each_wording_carries_all_facts() -> None:
    assert len(FRAMES) >= 25
    assert len({frame.domain for frame in FRAMES}) >= 8
    for frame in FRAMES:
        assert len(set(frame.wordings)) >= 4
        slots = {tuple(sorted(re.findall(r"{(\w+)}", wording))) for wording in frame.wordings}
        assert slots in ({("a", "b", "q")}, {("a", "b", "city", "q")}), frame
