"""What the demo generators share: a vocabulary in a file, splits that stay apart, distinct records.

The records of each depend on split, size and seed alone, and a smaller size yields the beginning of a
larger one. An unknown split or a negative size is refused at the call, not at the first record.
"""

import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

Plan = TypeVar("Plan")

SPLITS = ("train", "validation", "test")

# Of every ten texts, names or frames, eight go to train and one to each other split.
OWNERS = ("train",) * 8 + ("validation", "test")


def vocabulary(name: str) -> dict[str, Any]:
    """The frames and words of a generator: the content of `<name>.yaml` beside this file."""
    file = Path(__file__).with_name(f"{name}.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def require(split: str, size: int) -> None:
    """Raise a ValueError for an unknown split or a negative size."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")


def owner(text: str, owners: Sequence[str] = OWNERS) -> str:
    """The one split that a text may occur in: its checksum is the same on every machine."""
    return owners[zlib.crc32(text.encode()) % len(owners)]


def distinct(
    size: int,
    deal: Callable[[], Iterable[Plan]],
    draw: Callable[[Plan], tuple[Hashable, dict[str, Any]] | None],
    tries: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield `size` records; a smaller size yields the beginning of a larger one.

    Args:
        deal: the plans of one round, such as all frames in random order, so that a short data set
            shows every one of them too.
        draw: fills a plan and returns what must not occur twice and the record, or None for a
            record of another split.
        tries: draws from a plan before it is passed over, as a small frame runs dry in the end.

    Raises:
        ValueError: a whole round has given nothing new.
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
