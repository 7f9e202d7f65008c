"""Demo data: generated once in a process, and never taken for those of another generator."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from expkit.data.demo.source import load

calls: list[tuple[str, int, int]] = []


def numbers(split: str, size: int, seed: int, steps: list[int] | None = None) -> Iterator[Any]:
    calls.append((split, size, seed))
    return ({"text": str(i * (steps or [1])[0])} for i in range(size))


def texts(generator: Any, seed: int = 0) -> list[str]:
    splits = load(generator, {"train": 3, "validation": 2, "test": 0}, seed, None, None)
    assert splits.test is None
    return list(splits.train.rows["text"])


def test_each_is_generated_once() -> None:
    calls.clear()
    assert texts(partial(numbers)) == texts(partial(numbers)) == ["0", "1", "2"]
    assert calls == [("train", 3, 0), ("validation", 2, 0)]


def test_other_arguments_and_seeds_are_other_data() -> None:
    calls.clear()
    assert texts(partial(numbers, steps=[2])) == ["0", "2", "4"]
    assert texts(partial(numbers, steps=[3])) == ["0", "3", "6"]
    texts(partial(numbers, steps=[3]), seed=9)
    assert len(calls) == 6
