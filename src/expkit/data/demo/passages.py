"""Generated short passages, in which most words follow from the words around them.

A passage is a hand-written frame of three to six sentences, filled with rows of small fact
tables: a weekday brings its neighbours, an animal its sound and its home, a profession its place
of work, a capital its country, an adjective its opposite. A person keeps one name and one set of
pronouns, verbs agree with their subjects, and sums are right. So the rest of a passage usually
determines a masked word, and a model that has learned the tables is far better than the frequencies
of words. The vocabulary is small enough to learn from nothing.

Facts and frames are the same in every split, but each passage belongs to one split only.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from expkit.data.demo.drawing import distinct, owner, seeded, vocabulary

_TRIES = 300

_VOCABULARY = vocabulary("passages")
FRAMES: tuple[str, ...] = tuple(_VOCABULARY["frames"])


def _rows(fields: str, rows: Sequence[str], cycle: bool = False) -> list[dict[str, str]]:
    """The cells of each row, by the fields of the table."""
    cells = [dict(zip(fields.split("/"), row.split("/"), strict=True)) for row in rows]
    if cycle:
        names = [row["name"] for row in cells]
        for i, row in enumerate(cells):
            after, later = (names[(i + offset) % len(names)] for offset in (1, 2))
            row.update(before=names[i - 1], after=after, later=later)
    return cells


TABLES = {name: _rows(**table) for name, table in _VOCABULARY["tables"].items()}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct passages, each {"text"}, that no other split can contain."""
    rng = seeded("passages", split, size, seed)

    def draw(frame: str) -> tuple[str, dict[str, Any]] | None:
        text = _fill(frame, rng)
        return (text, {"text": text}) if owner(text) == split else None

    return distinct(size, lambda: rng.sample(FRAMES, len(FRAMES)), draw, _TRIES)


def _fill(frame: str, rng: random.Random) -> str:
    cells: dict[str, dict[str, str]] = {}
    for name, rows in TABLES.items():
        cells[name], cells[f"{name}2"] = rng.sample(rows, 2)
    first_letter = re.compile(r'(^|[.?!] )("?[a-z])')  # of each sentence
    return first_letter.sub(lambda match: match[1] + match[2].upper(), frame.format_map(cells))
