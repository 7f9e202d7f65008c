"""The examples of one run, in the splits train, validation and perhaps test."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from datasets import Dataset

from expkit.config.set_names import wrong_name
from expkit.terminal.errors import DataError, nearest

Record = dict[str, Any]
Columns = dict[str, list[Any]]

CHUNK = 5_000  # so many examples are Python objects at a time


@dataclass(frozen=True)
class Split:
    """Examples, with the name and the digest under which MLflow lists them as an input.

    `where(i)` says for error messages where example `i` comes from, such as `a.csv, line 7`.
    """

    rows: Dataset
    name: str
    source: str
    digest: str
    where: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.rows)

    def part(self, start: int, end: int) -> "Split":
        """The examples from number `start` up to `end`, which is not among them."""
        rows = self.rows.select(range(start, min(end, len(self))))
        return replace(self, rows=rows, where=lambda i: self.where(start + i))

    def column(self, name: str) -> list[Any]:
        """All values of one column.

        Raises:
            DataError: there is no such column.
        """
        self.require([name])
        return list(self.rows[name][:])

    def values(self, name: str) -> Iterator[Any]:
        """Iterate over the values of one column, with one chunk of them in memory at a time."""
        for start in range(0, len(self), CHUNK):
            yield from self.rows[name][start : start + CHUNK]

    def chunks(self, names: Sequence[str]) -> Iterator[Columns]:
        """Iterate over chunks of the examples with only these columns."""
        rows = self.rows.select_columns(list(names))
        for start in range(0, len(self), CHUNK):
            yield rows[start : start + CHUNK]

    def require(self, columns: Iterable[str]) -> None:
        """Raise a DataError unless all `columns` exist."""
        for column in columns:
            if column not in self.rows.column_names:
                raise DataError(
                    f"{self.source}: has no column {column!r}; "
                    f"{nearest(column, self.rows.column_names)}"
                )

    def numbers(self, name: str) -> list[float]:
        """The values of one column as numbers; a text such as "4.5", as in CSV, counts as a number.

        Raises:
            DataError: there is no such column, or one of its values is no finite number.
        """
        numbers = []
        for i, value in enumerate(self.column(name)):
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if isinstance(value, bool) or not math.isfinite(number) or "_" in str(value):
                raise DataError(
                    f"{self.where(i)}: {name}={value!r:.60} is no number; expected one such as 4.5"
                )
            numbers.append(number)
        return numbers

    def require_texts(self, columns: Iterable[str]) -> None:
        """Raise a DataError unless all `columns` exist and hold nothing but texts."""
        for column in columns:
            self.require([column])
            for i, text in enumerate(self.values(column)):
                if not isinstance(text, str):
                    raise DataError(f"{self.where(i)}: {column}={text!r:.60} is no text")


@dataclass(frozen=True)
class Texts:
    """Texts that can be read more than once; different texts have different digests."""

    read: Callable[[], Iterator[str]]
    digest: str

    def __iter__(self) -> Iterator[str]:
        return self.read()


@dataclass(frozen=True)
class Splits:
    """The examples of a run.

    Args:
        further: evaluation sets beside validation and test, by name.
        division: the numbers of the records, from 0, that each split has got of one file; empty if every split
            has a file of its own.
    """

    train: Split
    validation: Split
    test: Split | None = None
    further: Mapping[str, Split] = field(default_factory=dict)
    division: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise a DataError for a name that a further set cannot have."""
        for name in self.further:
            if why := wrong_name(name):
                raise DataError(f"data: {name!r} {why}")

    def named(self) -> dict[str, Split]:
        """The splits there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None} | {
            **self.further
        }

    def digests(self) -> dict[str, str]:
        """The digest of each split."""
        return {name: split.digest for name, split in self.named().items()}


def digest_of_value(value: Any) -> int:
    """64 bits that stand for what the model is asked, or for another value that JSON can hold.

    Two different ones among ten million share a digest with a probability of 1 in 370,000.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
