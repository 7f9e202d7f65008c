"""Training, validation and test examples out of one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expkit.data.splits import Split, Splits


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
        inputs: what the model is asked in each example; equal inputs stay on one side.
        strata: the label of each example, whose shares are kept; None if the task has none.
    """
    raise NotImplementedError
