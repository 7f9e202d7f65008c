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
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from expkit.data.demo.vocabulary import vocabulary

SPLITS = ("train", "validation", "test")

# Of every ten possible passages, eight belong to train and one to each other split.
_OWNERS = ("train",) * 8 + ("validation", "test")

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
    return [
        {"before": before, "name": name, "after": after, "later": later}
        for before, name, after, later in around
    ]


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
    """Yield `size` distinct passages, each {"text"}, that no other split can contain.

    The passages depend on the arguments alone, and a smaller size yields the beginning of a
    larger one. An unknown split or a negative size is refused at the call, not at the first record.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")
    return _generate(split, size, random.Random(f"passages/{split}/{seed}"))


def _generate(split: str, size: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    while True:
        before = len(seen)
        # Whole rounds rather than single draws, so that a short data set shows every frame too.
        for frame in rng.sample(FRAMES, len(FRAMES)):
            if len(seen) == size:
                return
            if text := _draw(frame, split, rng, seen):
                yield {"text": text}
                seen.add(text)
        if len(seen) == before:
            raise ValueError(f"no more than {before} passages of split {split!r} could be found")


def _draw(frame: str, split: str, rng: random.Random, seen: set[str]) -> str | None:
    """Fill the frame with something new, or give up: a small frame runs dry in the end."""
    for _ in range(_TRIES):
        text = _fill(frame, rng)
        if text not in seen and _owner(text) == split:
            return text
    return None


def _fill(frame: str, rng: random.Random) -> str:
    cells: dict[str, dict[str, str]] = {}
    for name, rows in TABLES.items():
        cells[name], cells[f"{name}2"] = rng.sample(rows, 2)
    return _capitalised(frame.format_map(cells))


def _capitalised(text: str) -> str:
    return re.sub(r'(^|[.?!] )("?[a-z])', lambda match: match[1] + match[2].upper(), text)


def _owner(text: str) -> str:
    """The split of a passage, from a checksum that is the same on every machine."""
    return _OWNERS[zlib.crc32(text.encode()) % len(_OWNERS)]
