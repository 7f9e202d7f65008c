"""Which labels the values of a record stand for, and which number each has.

A text is its own label, exactly as it is written. A whole number is its digits; 1.0 is 1 in a column of
numbers, because one fraction there makes fractions of all. A truth value is `true` or `false`. Nothing
else is a label.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from datasets import ClassLabel

from expkit.data.splits import Split, Splits
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, nearest

NUMBER = re.compile(r"\+?(-?\d{1,999})(?:\.0*)?")
# Controls but for blanks, and variation selectors.
UNSEEN = re.compile(r"[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufe00-\ufe0f]")
SWITCHES = {"0": False, "false": False, "1": True, "true": True}


class LabelColumn:
    """Reads a column with the label of each record, or with the ids of names that are given.

    Args:
        names: task.labels; empty: those that the training data give to ids, or else hold, sorted.
    """

    holds = "="  # between the name of the column and a label, in messages
    too_few = "there is nothing to learn"  # with fewer than two labels

    def __init__(self, column: str, names: Sequence[str]) -> None:
        self.columns = [column]
        self._column = column
        self._given = list(names)
        self._adopted: list[str] = []
        self._with_ids: set[str] = set()  # digests of splits
        self._renamed: dict[
            str, str
        ] = {}  # names that the training data give to ids, as names here
        self.names = list(names)

    def adopt(self, names: Sequence[str]) -> None:
        """Take the names that a model gives to its ids, in place of those that `setup` would find."""
        self._adopted = list(names)

    def setup(self, splits: Splits) -> None:
        """Find the names. Raises DataError for a value that is no label, or not among the labels."""
        found = [(split, self._first(split)) for split in splits.named().values()]
        own = self._own_names(splits.train)
        self._renamed = dict(zip(own, names_of_ids(own, self._given), strict=False))
        named = self._given or self._adopted or own
        self.names = named or found_names(splits.train, self._column, found[0][1])
        if len(self.names) < 2:
            found_few = f"one label only, {self.names[0]!r:.60}" if self.names else "no label"
            raise DataError(
                f"{splits.train.source}: column {self._column!r} holds {found_few}; {self.too_few}"
            )
        # Ids count where names are given, and only where no name can be taken for one.
        is_clear = named and not any(NUMBER.fullmatch(bare(name)) for name in self.names)
        ids = {str(i) for i in range(len(self.names)) if is_clear}
        self._with_ids = {split.digest for split, first in found if ids & first.keys()}
        if self._with_ids and not own:
            meant = ", ".join(f"{i}={name}" for i, name in enumerate(self.names))
            whose = "task.labels" if self._given else "the model"
            say(f"{self._column}: holds ids, taken for those of {whose}: {meant:.500}")
        for split, first in found:
            numbers = self._numbers(split)
            for label, i in first.items():
                if label not in numbers:
                    raise self._unknown(split, i, label, numbers)

    def ids(self, split: Split) -> list[int]:
        """The number of each label, record by record."""
        numbers = self._numbers(split)
        return [numbers[label] for _, _, label in self._labels(split)]

    def _values(self, split: Split) -> Iterator[tuple[int, Any]]:
        """Each label as it is written, behind the number of its record."""
        return enumerate(split.values(self._column))

    def _own_names(self, split: Split) -> list[str]:
        feature = split.rows.features.get(self._column)
        return class_names(getattr(feature, "feature", feature))

    def _numbers(self, split: Split) -> dict[str, int]:
        """The number of each label that a split may hold."""
        numbers = {name: i for i, name in enumerate(self.names)}
        if own := self._own_names(split):
            pairs = ((label, self._renamed.get(label, label)) for label in own)
            return {label: numbers[name] for label, name in pairs if name in numbers}
        return {str(i): i for i in numbers.values()} if split.digest in self._with_ids else numbers

    def _first(self, split: Split) -> dict[str, int]:
        """Each label of a split, with the number of the first record that has it."""
        first: dict[str, int] = {}
        for i, _, label in self._labels(split):
            first.setdefault(label, i)
        return first

    def _labels(self, split: Split) -> Iterator[tuple[int, Any, str]]:
        """For each label: the number of its record, how it is written, and the label."""
        own = self._own_names(split)
        ids = range(len(own))
        for i, value in self._values(split):
            label = label_of(value if not own else own[value] if value in ids else None)
            if label is None:
                plain = "a text that is not blank, a whole number, true or false"
                plain += "; lists are for task=multilabel_classification" * isinstance(value, list)
                raise DataError(
                    f"{split.where(i)}: {self._column}{self.holds}{value!r:.60} is no label; expected "
                    f"{f'an id from 0 to {ids[-1]}' if own else plain}"
                )
            yield i, value, label

    def _unknown(self, split: Split, i: int, label: str, allowed: Iterable[str]) -> DataError:
        value = next(value for at, value, found in self._labels(split) if (at, found) == (i, label))
        meant = "" if value == label else f", which is the label {label!r},"
        like = next((name for name in allowed if bare(name) == bare(label)), label)
        mixed = " (other records hold their ids)" if label in self.names else ""
        return DataError(
            f"{split.where(i)}: {self._column}{self.holds}{value!r:.60}{meant} is not among the labels{mixed}; "
            f"{nearest(like, [*allowed] or self.names)}"
        )


class LabelSets(LabelColumn):
    """Reads several labels of each record, or none: lists of names or ids, texts, or columns of 0 and 1.

    Args:
        columns: one, or one of 0 and 1 for each label, which has the name of the label.
        separator: what stands between two labels in a text.
    """

    holds = " holds "
    too_few = "task=text_classification learns whether a record has one label or not"

    def __init__(self, columns: Sequence[str], separator: str | None, names: Sequence[str]) -> None:
        super().__init__(", ".join(columns), columns if len(columns) > 1 else names)
        self.columns = list(columns)
        self._separator = separator

    def setup(self, splits: Splits) -> None:
        """Also refuse a label that a record has twice, or that no example of the training split has."""
        super().setup(splits)
        for split in splits.named().values():
            for i, ids in enumerate(self.sets(split)):
                if len(set(ids)) < len(ids):
                    twice = self.names[max(ids, key=ids.count)]
                    raise DataError(f"{split.where(i)}: {self._column} holds {twice!r:.60} twice")
        found = set(self.ids(splits.train))
        missing = [name for i, name in enumerate(self.names) if i not in found]
        if missing and not self._adopted:
            raise DataError(
                f"{splits.train.source}: no example has the label {missing[0]!r:.60}, so it cannot be learned; add "
                "examples, or leave it out of task.labels or task.label_columns"
            )

    def sets(self, split: Split) -> list[list[int]]:
        """The numbers of each record's labels."""
        numbers = self._numbers(split)
        sets: list[list[int]] = [[] for _ in range(len(split))]
        for i, _, label in self._labels(split):
            sets[i].append(numbers[label])
        return sets

    def written(self, split: Split) -> Iterator[list[Any]]:
        """The labels of each record as they are written. Raises DataError for what is no list, or not 0 or 1."""
        for i, values in enumerate(zip(*map(split.values, self.columns), strict=True)):
            value = values[0]
            if len(values) > 1:
                named = zip(self.columns, values, strict=True)
                value = [name for name, given in named if _is_on(split, i, name, given)]
            elif self._separator and isinstance(value, str):
                value = value.split(self._separator) if value else []
            if not isinstance(value, list):
                raise DataError(
                    f"{split.where(i)}: {self._column}={value!r:.60} is no list of labels, which may be empty; a text "
                    "needs task.label_separator, and one label for each example task=text_classification"
                )
            yield value

    def _values(self, split: Split) -> Iterator[tuple[int, Any]]:
        return ((i, value) for i, values in enumerate(self.written(split)) for value in values)


def _is_on(split: Split, i: int, column: str, value: object) -> bool:
    if (switch := SWITCHES.get(bare(label_of(value) or ""))) is None:
        allowed = ", ".join(SWITCHES)
        raise DataError(f"{split.where(i)}: {column}={value!r:.60}: allowed: {allowed}")
    return switch


def label_of(value: object) -> str | None:
    """The label that a value stands for; None if it is none."""
    if isinstance(value, str):
        return value if bare(value) else None
    if isinstance(value, bool):
        return str(value).lower()
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if is_whole else None  # type: ignore[call-overload]


@lru_cache(maxsize=4096)
def bare(label: str) -> str:
    """A label without what is easily overlooked: case, blanks, invisible and full-width characters,
    and the fraction of 1.0.
    """
    text = UNSEEN.sub("", unicodedata.normalize("NFKC", label))
    text = " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").casefold().split())
    number = NUMBER.fullmatch(text)
    return number[1] if number else text


def found_names(split: Split, column: str, first: Mapping[str, int]) -> list[str]:
    """The labels that occur, in order; `first` has the first record of each.

    Raises:
        DataError: two of them differ in nothing but what is easily overlooked.
    """
    seen: dict[str, str] = {}
    for label, i in first.items():
        if (other := seen.setdefault(bare(label), label)) != label:
            raise DataError(
                f"{split.where(i)}: {column}: {label!r:.60} is almost {other!r:.60} "
                f"({split.where(first[other])}): only case, blanks or the form of characters differ; "
                "write both in one way or, if both are meant, name all labels in task.labels"
            )
    are_numbers = all(label.isdecimal() and NUMBER.fullmatch(label) for label in first)
    return sorted(first, key=int if are_numbers else None)


def class_names(feature: Any) -> list[str]:
    """The names that a data set gives to the ids of a column; empty if it gives none."""
    return list(feature.names) if isinstance(feature, ClassLabel) else []


def names_of_ids(own: list[str], given: list[str]) -> list[str]:
    """The names of a column's ids: `own` are those of the data, `given` are task.labels.

    As many names as the data have, none of which has moved, are new names for the same ids. All others
    say which labels there are and in which order; the data then say what an id means.
    """
    if not own or len(own) != len(given):
        return own or given
    places = {bare(name): i for i, name in enumerate(given)}
    moved = any(places.get(bare(name), i) != i for i, name in enumerate(own))
    return own if moved else given
