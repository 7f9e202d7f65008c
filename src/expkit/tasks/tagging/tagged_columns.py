"""Words and their tags, as the columns of a data set hold them."""

from collections.abc import Mapping, Sequence
from typing import Any

from expkit.answering import tags
from expkit.data.labels import class_names, found_names, label_of, names_of_ids
from expkit.data.splits import Split, Splits
from expkit.terminal.errors import DataError, UserError, nearest

Tags = list[str]

ALLOWED = "expected O, or B-, I-, E-, S-, L-, U-, M- or W- with a type, such as B-PER"


class TaggedColumns:
    """Reads a column of words and a column with a tag, or its id, for each of them.

    Args:
        names: of the tags in the order of their ids; empty: those of a hub data set.

    Raises:
        UserError: one of the names is no tag.
    """

    def __init__(self, words_column: str, tags_column: str, names: Sequence[str]) -> None:
        for i, name in enumerate(names):
            if tags.parse(name) is None:
                raise UserError(f"task.labels[{i}]={name!r} is no tag; {ALLOWED}")
        self._words_column = words_column
        self._tags_column = tags_column
        self._names = list(names)

    def require(self, split: Split) -> None:
        """Raise a DataError unless every record holds words and a tag for each of them."""
        split.require([self._words_column, self._tags_column])
        rows = zip(split.values(self._words_column), split.values(self._tags_column), strict=True)
        for i, (words, given) in enumerate(rows):
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise DataError(
                    f"{split.where(i)}: {self._words_column}={words!r:.60} is no list of texts"
                )
            if not isinstance(given, list) or len(given) != len(words):
                raise DataError(
                    f"{split.where(i)}: {self._tags_column}={given!r:.60} is no list of "
                    f"{len(words)} tags, one for each word in {self._words_column}"
                )
        self.given(split)

    def words(self, split: Split) -> list[list[str]]:
        """The words of each sentence."""
        return split.column(self._words_column)

    def given(self, split: Split) -> list[Tags]:
        """The tags of each sentence as they are written, ids replaced by their names.

        Raises:
            DataError: something that is neither a tag nor the id of one.
        """
        by_id = {str(i): name for i, name in enumerate(self._names_of_ids(split))}
        return [
            [self._name(split, i, j, value, by_id) for j, value in enumerate(values)]
            for i, values in enumerate(split.values(self._tags_column))
        ]

    def _names_of_ids(self, split: Split) -> list[str]:
        own = class_names(getattr(split.rows.features[self._tags_column], "feature", None))
        return names_of_ids(own, self._names)

    def _name(self, split: Split, i: int, j: int, value: Any, by_id: Mapping[str, str]) -> str:
        is_id = isinstance(value, int | float) and not isinstance(value, bool)
        name = by_id.get(label_of(value) or "") if is_id else value
        if isinstance(name, str) and tags.parse(name) is not None:
            return name
        place = f"{split.where(i)}: {self._tags_column}[{j}]={value!r:.60}"
        if not is_id or name is not None:
            raise DataError(f"{place} is no tag; {ALLOWED}")
        if not by_id:
            raise DataError(
                f"{place} is an id; name the ids in order (task.labels=[O,B-PER,...]), or write the tags"
            )
        raise DataError(f"{place} is no id; the ids 0 to {len(by_id) - 1} have names")

    def bio(self, split: Split) -> list[Tags]:
        """The tags of each sentence in BIO."""
        return [tags.to_bio(sentence) for sentence in self.given(split)]

    def types(self, split: Split) -> list[str]:
        """The types of entities, sorted: those that have names, or those that occur in `split`.

        Raises:
            DataError: there is none.
        """
        names = self._names or self._names_of_ids(split)
        found = {tags.type_of(name): 0 for name in names}
        if not names:
            for i, sentence in enumerate(self.given(split)):
                for tag in sentence:
                    found.setdefault(tags.type_of(tag), i)
            found_names(split, self._tags_column, found)
        if not found.keys() - {tags.OUTSIDE}:
            raise DataError(
                f"{split.source}: every tag in {self._tags_column!r} is 'O'; there is nothing to learn"
            )
        return sorted(found.keys() - {tags.OUTSIDE})

    def require_types(self, split: Split, labels: Sequence[str]) -> None:
        """Raise a DataError for an entity whose type is not among those of `labels`."""
        known = set(map(tags.type_of, labels))
        for i, sentence in enumerate(self.given(split)):
            for j, tag in enumerate(sentence):
                if tags.type_of(tag) not in known:
                    word = split.rows[i][self._words_column][j]
                    raise DataError(
                        f"{split.where(i)}: {self._tags_column}[{j}]={tag!r:.60}, of the word {word!r:.60}, "
                        f"is not among the labels; {nearest(tag, labels)}"
                    )

    def reading(self, splits: Splits) -> tuple[tags.Reading, str]:
        """The scheme of the tags of all splits, and a sentence about it for the user."""
        located = [
            (split.where(i), sentence)
            for split in dict.fromkeys(splits.named().values())  # one may stand for two
            for i, sentence in enumerate(self.given(split))
        ]
        reading = tags.read([sentence for _, sentence in located])
        parts = [reading.scheme]
        if reading.scheme != "BIO":
            parts.append(f"{reading.rewritten} tags rewritten as BIO")
        if reading.first_repaired is not None:
            place, _ = located[reading.first_repaired]
            parts.append(f"{reading.repaired} invalid prefixes repaired, the first in {place}")
        return reading, "; ".join(parts)
