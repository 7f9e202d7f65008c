"""Training, validation and test examples out of one file.

Examples that must stay together, because their inputs are equal or they belong to one group, form a unit.
Units are dealt out in a random order to the split that is furthest from its share of their labels.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from expkit.data.splits import Split, Splits
from expkit.terminal.errors import DataError, nearest

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


def divided(data: Undivided, inputs: Sequence[Any], strata: Sequence[Any] | None) -> Splits:
    """Divide the examples.

    Args:
        inputs: what the model is asked in each example; equal inputs stay in one split.
        strata: the label of each example, whose shares are kept; None if the task has none.

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
    same_input = _numbered(map(_digest, inputs))
    if group_column is None:
        return same_input
    split.require([group_column])
    groups = split.column(group_column)
    if None in groups:
        raise DataError(
            f"{split.where(groups.index(None))}: data.group_column={group_column}: is null"
        )
    # A graph of groups and inputs, with an edge for each example, falls into parts that share neither.
    same_group = _numbered(map(_digest, groups))
    shape = same_group.max() + 1, same_input.max() + 1
    edges = (np.ones(len(groups)), (same_group, shape[0] + same_input))
    _, parts = connected_components(csr_array(edges, (sum(shape), sum(shape))), directed=False)
    return _numbered(parts[same_group])


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).digest()[:16]


def _numbered(values: Iterable[Any]) -> np.ndarray:
    """Equal values get equal numbers, counted from 0 in the order of their first appearance."""
    numbers: dict[Any, int] = {}
    return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), dtype=int)


def _dealt(split: Split, units: np.ndarray, strata: Sequence[Any], how: Division) -> Deal:
    """Deal out the units to train, validation and perhaps test."""
    if len(units) and not units.any():
        what = "group or input" if how.group_column else "input"
        raise DataError(
            f"{split.source}: all of its examples share one {what}, so nothing can be divided"
        )
    shares = {"test": how.test_share} if how.test_share else {}
    if how.folds:
        _require_folds(split, units, strata, how)
        left = 1 - sum(shares.values())
        shares |= {f"fold {k}": left / how.folds for k in range(1, how.folds + 1)}
    else:
        shares["validation"] = how.validation_share or 0
        shares["train"] = 1 - sum(shares.values())
    parts = _by_shares(units, _numbered(strata), shares, how.seed)
    if not how.folds:
        return parts
    chosen = f"fold {how.fold or 1}"
    train = sorted(i for name, rows in parts.items() if name not in ("test", chosen) for i in rows)
    return {"train": train, "validation": parts[chosen], "test": parts.get("test", [])}


def _by_shares(
    units: np.ndarray, strata: np.ndarray, shares: Mapping[str, float], seed: int
) -> Deal:
    """Deal out units, large ones first and otherwise in a random order.

    Each unit goes to the part that lacks most examples of its labels, or most examples at all if several
    parts lack equally many. If all units are single examples, two parts differ from their shares of a label by less than one
    example, and so do folds.
    """
    members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
    shuffled = np.random.default_rng(seed).permutation(len(members)).tolist()
    order = sorted(shuffled, key=lambda unit: -len(members[unit]))
    totals = np.bincount(strata)
    missing = [(share * totals).tolist() for share in shares.values()]
    all_missing = [share * len(units) for share in shares.values()]
    parts: list[list[int]] = [[] for _ in shares]
    for unit in order:
        counts = Counter(strata[members[unit]].tolist())
        wanted = [
            (round(sum(n * lack[label] for label, n in counts.items()), 6), in_all)
            for lack, in_all in zip(missing, all_missing, strict=True)
        ]
        best = wanted.index(max(wanted))
        parts[best] += members[unit].tolist()
        all_missing[best] -= len(members[unit])
        for label, n in counts.items():
            missing[best][label] -= n
    return {name: sorted(rows) for name, rows in zip(shares, parts, strict=True)}


def _require_folds(split: Split, units: np.ndarray, strata: Sequence[Any], how: Division) -> None:
    """Raise a DataError for a label that the training examples of some fold would lack."""
    least = 2 if how.group_column else how.folds or 2
    what = "groups" if how.group_column else "different inputs"
    pairs = dict.fromkeys(zip(strata, units.tolist(), strict=True))
    for label, count in Counter(label for label, _ in pairs).items():
        if count < least:
            of_label = "" if label is None else f" with the label {label!r:.60}"
            raise DataError(
                f"{split.source}: has {count} {what}{of_label}, and data.folds={how.folds} needs at least {least}"
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
