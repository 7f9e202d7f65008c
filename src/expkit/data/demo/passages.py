"""Generated short passages in which most words can be told from the words around them.

A passage is a hand-written frame of three to six sentences, filled with rows of small fact
tables: a weekday brings its neighbours, an animal its sound and its home, a profession its place
of work, a capital its country, an adjective its opposite. A person keeps one name and one set of
pronouns, verbs agree with their subjects, and sums are right. A masked word is therefore usually
determined by the rest, so a model that has learned the tables leaves the unigram distribution far
behind, and the vocabulary is small enough to learn from nothing.

Facts and frames are the same in every split; a passage as a whole belongs to exactly one.
"""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from expkit.data.demo.drawing import distinct, owner, require, vocabulary

_TRIES = 300

_VOCABULARY = vocabulary("passages")
FRAMES: tuple[str, ...] = tuple(_VOCABULARY["frames"])


def _table(name: str, fields: str = "") -> list[dict[str, str]]:
    """The rows of a table of the vocabulary, with the names of its cells, or with other names."""
    table = _VOCABULARY["tables"][name]
    names = (fields or table["fields"]).split("/")
    return [dict(zip(names, row.split("/"), strict=True)) for row in table["rows"]]


def _round(names: str) -> list[dict[str, str]]:
    """A row per name, with the names around it; the last name is followed by the first."""
    ring = names.split()
    around = zip(ring[-1:] + ring, ring, ring[1:] + ring, ring[2:] + ring, strict=False)
    return [dict(zip(("before", "name", "after", "later"), row, strict=True)) for row in around]


def _months() -> list[dict[str, str]]:
    seasons = _table("season")
    return [
        # December, January and February are winter, and so on around the year.
        {**month, **seasons[(index + 1) // 3 % 4]}
        for index, month in enumerate(_round(_VOCABULARY["months"]))
    ]


def _people() -> list[dict[str, str]]:
    girls, boys = _VOCABULARY["girls"].split(), _VOCABULARY["boys"].split()
    she = {"she": "she", "her": "her", "him": "her", "a_child": "a girl"}
    he = {"she": "he", "her": "his", "him": "him", "a_child": "a boy"}
    return [{"name": name, **she} for name in girls] + [{"name": name, **he} for name in boys]


# The order decides which rows a seed draws.
TABLES: Mapping[str, list[dict[str, str]]] = {
    "person": _people(),
    "day": _round(_VOCABULARY["days"]),
    "month": _months(),
    "number": _table("number"),
    # Both directions of each pair of opposites.
    "quality": _table("quality") + _table("quality", "opposite/less/name/more"),
    **{name: _table(name) for name in ("thing", "animal", "job", "city", "tool", "fruit")},
}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct passages, each {"text"}, that no other split can contain."""
    require(split, size)
    rng = random.Random(f"passages/{split}/{seed}")

    def draw(frame: str) -> tuple[str, dict[str, Any]] | None:
        text = _fill(frame, rng)
        return (text, {"text": text}) if owner(text) == split else None

    return distinct(size, lambda: rng.sample(FRAMES, len(FRAMES)), draw, _TRIES)


def _fill(frame: str, rng: random.Random) -> str:
    cells: dict[str, dict[str, str]] = {}
    for name, rows in TABLES.items():
        cells[name], cells[f"{name}2"] = rng.sample(rows, 2)
    begin = re.compile(r'(^|[.?!] )("?[a-z])')  # of a sentence
    return begin.sub(lambda match: match[1] + match[2].upper(), frame.format_map(cells))
