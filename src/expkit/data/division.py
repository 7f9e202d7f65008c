"""Training, validation and test examples out of one file.

Examples that must stay together, because their inputs are equal or they belong to one group, form a unit.
Units are dealt out in a random order, so that each split gets its share of every label.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from expkit.data.splits import Split, Splits, digest_of_value
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, nearest

Lists = Sequence[list[int]]
Deal = dict[str, list[int]]  # the numbers of the examples of each split, in their order

# What `data.split_column` may say, and the split it means; the `datasets` library knows these names of files.
SIDES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Division:
    """How examples are divided; see conf/data/files.yaml.

    Args:
        fold: which of the folds, counted from 1, is the validation split.
    """

    validation_share: float | None = None
    test_share: float | None = None
    seed: int = 0
    group_column: str | None = None
    split_column: str | None = None
    folds: int | None = None
    fold: int | None = None


@dataclass(frozen=True)
class Undivided:
    """What a data component returns if the validation split has to be taken out of the examples.

    Args:
        limits: the most examples of the training split, and of each of the others; None: all.
    """

    examples: Split
    division: Division
    test: Split | None = None
    further: Mapping[str, Split] = field(default_factory=dict)
    limits: tuple[int | None, int | None] = (None, None)


def splits_of(
    read: Callable[[Any, int | None], Split],
    train: Any,
    validation: Any,
    test: Any,
    further: Mapping[str, Any] | None,
    limits: tuple[int | None, int | None],
    division: Division,
) -> Splits | Undivided:
    """Read what is named for each split. Without a validation split, all training examples are to be divided.

    Args:
        read: reads what is named, at most so many examples of it.
        limits: see `Undivided`.
    """
    tested = read(test, limits[1]) if test else None
    sets = {name: read(named, limits[1]) for name, named in (further or {}).items()}
    if not validation:
        return Undivided(read(train, None), division, tested, sets, limits)
    return Splits(read(train, limits[0]), read(validation, limits[1]), tested, sets)


def divided(data: Undivided, inputs: Sequence[Any], strata: Sequence[Any] | None) -> Splits:
    """Divide the examples.

    Args:
        inputs: what the model is asked in each example; equal inputs stay in one split.
        strata: the label of each example, or a list of its labels, whose shares are kept; None if the task has none.

    Raises:
        DataError: a split would be empty, a label has fewer examples than there are folds, or a column does
            not exist or does not name splits.
    """
    split, how = data.examples, data.division
    if how.split_column is not None:
        deal = _as_named(split, how.split_column)
    else:
        units = _units(split, inputs, how.group_column)
        deal = _dealt(split, units, strata or [None] * len(split), how)
    for name in ("train", "validation"):
        if not deal[name]:
            raise DataError(f"{split.source}: no example is left for the {name} split")
    most = {"train": data.limits[0]}
    deal = {name: rows[: most.get(name, data.limits[1])] for name, rows in deal.items() if rows}
    parts = {name: _part(split, name, rows) for name, rows in deal.items()}
    test = data.test or parts.get("test")
    return Splits(parts["train"], parts["validation"], test, data.further, deal)


def _as_named(split: Split, column: str) -> Deal:
    """The examples of each split as a column of the data names it."""
    split.require([column])
    deal: Deal = {"train": [], "validation": [], "test": []}
    for i, value in enumerate(split.values(column)):
        side = SIDES.get(value) if isinstance(value, str) else None
        if side is None:
            raise DataError(
                f"{split.where(i)}: data.split_column={column}: {value!r:.60} names no split; "
                f"{nearest(str(value), SIDES)}"
            )
        deal[side].append(i)
    return deal


def _units(split: Split, inputs: Sequence[Any], group_column: str | None) -> np.ndarray:
    """The number of the unit that each example belongs to."""
    same_input = _numbered(map(digest_of_value, inputs))
    if group_column is None:
        return same_input
    split.require([group_column])
    groups = split.column(group_column)
    for i, group in enumerate(groups):
        if group is None or group != group or (isinstance(group, str) and not group.strip()):
            raise DataError(
                f"{split.where(i)}: data.group_column: {group_column}={group!r} is empty; give each example "
                "a group, and one of its own to an example that belongs to no other"
            )
    # A graph of groups and inputs, with an edge for each example, falls into parts that share neither.
    same_group = _numbered(map(digest_of_value, groups))
    shape = same_group.max() + 1, same_input.max() + 1
    edges = (np.ones(len(groups)), (same_group, shape[0] + same_input))
    _, parts = connected_components(csr_array(edges, (sum(shape), sum(shape))), directed=False)
    units = _numbered(parts[same_group])
    if joined := shape[0] - int(units.max()) - 1:
        pairs = dict.fromkeys(zip(same_input.tolist(), same_group.tolist(), strict=True))
        (most, count), *_ = Counter(one for one, _ in pairs).most_common(1)
        shared = inputs[same_input.tolist().index(most)]
        say(
            f"{split.source}: groups that share an input stay together, which makes {shape[0] - joined} groups of "
            f"{shape[0]}; {shared!r:.60} stands in {count} of them"
        )
    return units


def _numbered(values: Iterable[Any]) -> np.ndarray:
    """Equal values get equal numbers, counted from 0 in the order of their first appearance."""
    numbers: dict[Any, int] = {}
    return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), dtype=int)


def _dealt(split: Split, units: np.ndarray, strata: Sequence[Any], how: Division) -> Deal:
    """Deal out the units to train, validation and perhaps test.

    Raises:
        DataError: there is one unit only, or a label is too rare for the folds.
    """
    if len(units) and not units.any():
        why = "one group, or groups that share inputs" if how.group_column else "one input"
        raise DataError(
            f"{split.source}: all of its examples belong to {why}, so nothing can be divided"
        )
    kinds = [(label or [None]) if isinstance(label, list) else [label] for label in strata]
    flat = iter(_numbered(label for of_example in kinds for label in of_example).tolist())
    labels = [[next(flat) for _ in of_example] for of_example in kinds]
    members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
    order = np.random.default_rng(how.seed).permutation(len(members)).tolist()
    shuffled = [members[unit].tolist() for unit in order]
    test = how.test_share or 0
    if not how.folds:
        share = how.validation_share or 0
        shares = {"train": 1 - share - test, "validation": share, "test": test}
        return _by_shares(shuffled, labels, shares, first="train")
    parts = _by_shares(shuffled, labels, {"train": 1 - test, "test": test}, first="train")
    held_out = set(parts["test"])
    rest = [unit for unit in shuffled if unit[0] not in held_out]
    # Every example is once in the validation split, so that large units may be dealt out first.
    folds = list(
        _by_shares(
            sorted(rest, key=len, reverse=True),
            labels,
            dict.fromkeys(range(how.folds), 1 / how.folds),
        ).values()
    )
    _require_labels(split, folds, kinds, how)
    chosen = (how.fold or 1) - 1
    train = sorted(i for fold in (*folds[:chosen], *folds[chosen + 1 :]) for i in fold)
    return {"train": train, "validation": folds[chosen], "test": parts["test"]}


def _by_shares(
    units: Lists, labels: Lists, shares: Mapping[Any, float], first: Any = None
) -> dict[Any, list[int]]:
    """Deal out units, which are lists of examples, in their order.

    A part that lacks all of a unit's examples comes before one that lacks them in part only. Of several the
    one that lacks most examples in all gets the unit. So the number of examples of a label in each part is its
    share, rounded up or down, if the units are single examples, and the parts have their shares of all examples too.
    With several labels of an example that is nearly so: the rarest come first (doi.org/10.1007/978-3-642-23808-6_10).

    Args:
        labels: the numbers of each example's labels.
        first: the part that gets the first unit with a label.
    """
    totals = np.bincount([label for unit in units for i in unit for label in labels[i]])
    lacking = {part: (share * totals).tolist() for part, share in shares.items()}
    in_all = {part: share * float(sum(map(len, units))) for part, share in shares.items()}
    if any(len(of_example) > 1 for of_example in labels):
        units = sorted(units, key=lambda unit: min(totals[n] for i in unit for n in labels[i]))
    dealt: dict[Any, list[int]] = {part: [] for part in shares}
    seen: set[int] = set()
    for unit in units:
        counts = Counter(label for i in unit for label in labels[i])
        best = first
        if first is None or counts.keys() <= seen:
            best = max(shares, key=lambda part: (-_over(counts, lacking[part]), in_all[part]))
        dealt[best] += unit
        in_all[best] -= len(unit)
        for label, count in counts.items():
            lacking[best][label] -= count
        seen |= counts.keys()
    return {part: sorted(rows) for part, rows in dealt.items()}


def _over(counts: Mapping[int, int], lacking: Sequence[float]) -> int:
    """0 if a part lacks all of these examples, else by how many they would exceed its share, rounded up.

    What is exactly its share counts as room, although shares such as 0.1 are not exact in binary.
    """
    over = round(max(count - lacking[label] for label, count in counts.items()), 6)
    return 0 if over <= 0 else math.floor(over) + 1


def _require_labels(
    split: Split, folds: Sequence[Sequence[int]], strata: Sequence[list[Any]], how: Division
) -> None:
    """Raise a DataError for a label that too few folds hold.

    Without groups, each fold has to hold it. With groups two folds are enough: otherwise the training examples of a
    fold lack it.
    """
    least = 2 if how.group_column else len(folds)
    holding = Counter(
        label for fold in folds for label in {label for i in fold for label in strata[i]}
    )
    for label, count in holding.items():
        if count < least:
            named = (
                "there are examples" if label is None else f"the label {label!r:.60} has examples"
            )
            raise DataError(
                f"{split.source}: {named} in {count} of data.folds={len(folds)} folds only, and {least} are needed; "
                "take fewer folds or another data.split_seed, or leave these examples out"
            )


def _part(split: Split, name: str, rows: list[int]) -> Split:
    digest = hashlib.sha256(f"{split.digest} {rows}".encode()).hexdigest()
    return Split(
        split.rows.select(rows),
        f"{split.name}-{name}",
        f"{split.source}, {name}",
        digest,
        where=lambda i: split.where(rows[i]),
    )
