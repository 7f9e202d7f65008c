"""What the demo generators share: a vocabulary in a file, splits that stay apart, distinct records.

The records of a generator depend on split, size and seed alone, and a smaller size yields the
beginning of a larger one.
"""

import random
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

Plan = TypeVar("Plan")

SPLITS = ("train", "validation", "test")

# Eight of every ten texts, names or frames go to train, and one to each other split.
OWNERS = ("train",) * 8 + ("validation", "test")


def vocabulary(name: str) -> dict[str, Any]:
    """The frames and words of a generator: the content of `<name>.yaml` beside this file."""
    file = Path(__file__).with_name(f"{name}.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def seeded(name: str, split: str, size: int, seed: int) -> random.Random:
    """The random numbers for a split of the data set `name`.

    Raises:
        ValueError: the split is unknown, or the size is negative.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")
    # random.Random digests a text alike in every process, which hash() does not.
    return random.Random(f"{name}/{split}/{seed}")


def owner(text: str, owners: Sequence[str] = OWNERS) -> str:
    """The only split in which a text may occur, by a checksum that is the same on every machine."""
    return owners[zlib.crc32(text.encode()) % len(owners)]


def distinct(
    size: int,
    deal: Callable[[], Iterable[Plan]],
    draw: Callable[[Plan], tuple[Hashable, dict[str, Any]] | None],
    tries: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield `size` records; a smaller size yields the beginning of a larger one.

    Args:
        deal: returns the plans of one round, such as all frames in random order, so that a short
            data set shows every one of them too.
        draw: fills a plan and returns a key that must not occur twice and the record, or None if
            the record belongs to another split.
        tries: how often a plan is drawn from before it is passed over; small frames run dry.

    Raises:
        ValueError: a whole round has yielded nothing new.
    """
    seen: set[Hashable] = set()
    while True:
        before = len(seen)
        for plan in deal():
            if len(seen) == size:
                return
            attempts = (draw(plan) for _ in range(tries))
            new = next((drawn for drawn in attempts if drawn and drawn[0] not in seen), None)
            if new:
                seen.add(new[0])
                yield new[1]
        if len(seen) == before:
            raise ValueError(f"no more than {before} different records could be found")
