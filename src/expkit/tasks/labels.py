"""Labels of texts: which label a value of a column stands for, and which number it has.

A text is its own label, exactly as it is written. A whole number is its digits, so that 1 and 1.0 are
one label in a column of numbers: one fraction or one gap there makes fractions of all of its numbers.
The text "1.0" is another label. A truth value is `true` or `false`. Nothing else is a label.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from datasets import ClassLabel

from expkit.data.splits import Split, Splits
from expkit.errors import DataError, nearest

NUMBER = re.compile(r"([+-]?\d+)(?:\.0*)?")
LONGEST_NUMBER = 1_000  # digits; Python refuses to read much longer ones
INVISIBLE = "Cf"  # Unicode's category of joiners, direction marks and the like


class LabelColumn:
    """Reads a column with the label of each record, or its id.

    Args:
        names: the labels in the order of their ids; empty: those of the training split.
    """

    def __init__(self, column: str, names: Sequence[str]) -> None:
        self._column = column
        self._given = tuple(names)
        self._holds_ids = False
        self.names = list(names)

    def setup(self, splits: Splits) -> None:
        """Find the names in the training split, and check the labels of all splits against them.

        Raises:
            DataError: a value that is no label, or not among the labels; labels that look the same.
        """
        found = [(split, self._first(split)) for split in splits.named().values()]
        self.names = list(self._given) or self._names(*found[0])
        if len(self.names) < 2:
            raise DataError(
                f"{splits.train.source}: column {self._column!r} holds one label only, "
                f"{self.names[0]!r:.60}; there is nothing to learn"
            )
        is_named = bool(self._given or self._own_names(splits.train))
        self._holds_ids = is_named and self._finds_ids(found)
        for split, first in found:
            known = self._known(split)
            for label, i in first.items():
                if label not in known:
                    raise self._unknown(split, i, label)

    def ids(self, split: Split) -> list[int]:
        """The number of each record's label."""
        known = self._known(split)
        return [known[label] for label in self._labels(split)]

    def _names(self, train: Split, first: Mapping[str, int]) -> list[str]:
        """Those that the data give to ids, or the labels that occur, in order."""
        if own := self._own_names(train):
            return own
        require_distinct(train, self._column, first)
        return sorted(first, key=int) if all(map(_is_decimal, first)) else sorted(first)

    def _own_names(self, split: Split) -> list[str]:
        """The names of the ids in a data set that carries them."""
        names = class_names(split.rows.features[self._column])
        if any(label_of(name) is None for name in names):
            raise DataError(f"{split.source}: {self._column!r} names its ids {names}; one is blank")
        return names

    def _known(self, split: Split) -> dict[str, int]:
        """The number of each label that may stand in a split."""
        if own := self._own_names(split):
            numbers = {name: i for i, name in enumerate(self.names)}
            pairs = zip(own, names_of_ids(own, self._given), strict=True)
            return {label: numbers[name] for label, name in pairs if name in numbers}
        by_id = map(str, range(len(self.names)))
        return {label: i for i, label in enumerate(by_id if self._holds_ids else self.names)}

    def _finds_ids(self, found: Sequence[tuple[Split, Mapping[str, int]]]) -> bool:
        """Whether the splits hold ids of names that are given; data that name their own are left out.

        Raises:
            DataError: they hold names as well as ids.
        """
        if any(NUMBER.fullmatch(bare(name)) for name in self.names):
            return False
        places: dict[str, str] = {}
        for split, first in found:
            if not self._own_names(split):
                places = {label: split.where(i) for label, i in first.items()} | places
        ids = [str(i) for i in range(len(self.names)) if str(i) in places]
        names = [name for name in self.names if name in places]
        if ids and names:
            raise DataError(
                f"{places[ids[0]]}: {self._column}={ids[0]!r} is an id, but {self._column}="
                f"{names[0]!r:.60} ({places[names[0]]}) is a name; write all of them in one way"
            )
        return bool(ids)

    def _first(self, split: Split) -> dict[str, int]:
        """Each label of a split, with the number of the first record that has it."""
        first: dict[str, int] = {}
        for i, label in enumerate(self._labels(split)):
            first.setdefault(label, i)
        return first

    def _labels(self, split: Split) -> Iterator[str]:
        own = self._own_names(split)
        for i, value in enumerate(split.values(self._column)):
            label = _name_of(value, own) if own else label_of(value)
            if label is None:
                expected = (
                    f"expected an id from 0 to {len(own) - 1}, which have names in the data"
                    if own
                    else "expected a text that is not blank, a whole number, true or false"
                )
                raise DataError(
                    f"{split.where(i)}: {self._column}={value!r:.60} is no label; {expected}: "
                    "give the record a label, or leave it out"
                )
            yield label

    def _unknown(self, split: Split, i: int, label: str) -> DataError:
        value = split.rows[i][self._column]
        meant = "" if value == label else f", which is the label {label!r},"
        like = next((name for name in self.names if bare(name) == bare(label)), label)
        ids = f", or ids from 0 to {len(self.names) - 1}" if self._holds_ids else ""
        return DataError(
            f"{split.where(i)}: {self._column}={value!r:.60}{meant} is not among the labels{ids}; "
            f"{nearest(like, self.names)}"
        )


def label_of(value: object) -> str | None:
    """The label that a value stands for; None if it is none."""
    if isinstance(value, str):
        return value if bare(value) else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return None


@lru_cache(maxsize=4096)
def bare(label: str) -> str:
    """A label without what is easily overlooked: case, blanks, invisible and full-width characters.

    A number of the form 1.0 becomes 1.
    """
    text = unicodedata.normalize("NFKC", label)
    text = "".join(c for c in text if unicodedata.category(c) != INVISIBLE)
    text = unicodedata.normalize("NFKC", " ".join(text.lower().split()))
    number = NUMBER.fullmatch(text)
    return number[1] if number else text


def require_distinct(split: Split, column: str, first: Mapping[str, int]) -> None:
    """Raise a DataError if two labels that were found differ in nothing but what `bare` removes.

    Args:
        first: each label, with the number of the first record that has it.
    """
    seen: dict[str, str] = {}
    for label, i in first.items():
        other = seen.setdefault(bare(label), label)
        if other != label:
            raise DataError(
                f"{split.where(i)}: {column}: {label!r:.60} is almost {other!r:.60} "
                f"({split.where(first[other])}): only case, blanks or the form of characters differ; "
                "write both in one way or, if both are meant, name all labels in task.labels"
            )


def class_names(feature: Any) -> list[str]:
    """The names that a data set gives to the ids of a column; empty if it gives none."""
    return list(feature.names) if isinstance(feature, ClassLabel) else []


def names_of_ids(own: Sequence[str], given: Sequence[str]) -> Sequence[str]:
    """The names of a column's ids: `own` are those of the data, `given` are task.labels.

    As many names as the data have, none of which has moved, are new names for the same ids. All others
    say which labels there are and in which order; the data then say what an id means.
    """
    if not own or not given:
        return own or given
    pairs = list(zip(own, given, strict=False))
    moved = any(one != other and (one in given or other in own) for one, other in pairs)
    return own if moved or len(own) != len(given) else given


def _name_of(value: object, names: Sequence[str]) -> str | None:
    is_id = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if is_id else None  # type: ignore[index]


def _is_decimal(label: str) -> bool:
    return label.isdecimal() and len(label) <= LONGEST_NUMBER
