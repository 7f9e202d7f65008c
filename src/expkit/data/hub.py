"""`data=hub`: a data set from the Hugging Face hub."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from datasets import Dataset, load_dataset

from expkit.config.constraints import above, at_least
from expkit.data.division import Division, Undivided, splits_of
from expkit.data.splits import Split, Splits
from expkit.terminal.errors import DataError, nearest, reason


def load(
    path: str,
    name: str | None,
    revision: str | None,
    train_split: str,
    validation_split: str | None = None,
    test_split: str | None = None,
    eval_splits: Mapping[str, str] | None = None,
    max_train_examples: Annotated[int, at_least(1)] | None = None,
    max_eval_examples: Annotated[int, at_least(1)] | None = None,
    validation_share: Annotated[float, above(0, below=1)] | None = None,
    test_share: Annotated[float, above(0, below=1)] | None = None,
    split_seed: Annotated[int, at_least(0)] = 0,
    group_column: str | None = None,
    split_column: str | None = None,
    folds: Annotated[int, at_least(2)] | None = None,
    fold: Annotated[int, at_least(1)] | None = None,
) -> Splits | Undivided:
    """Download (or take from the hub's local cache) the named splits of a data set.

    Raises:
        DataError: the data set or one of its splits does not exist, or the hub is out of reach.
    """
    try:
        splits = load_dataset(path, name, revision=revision)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"data.path={path!r}: cannot be loaded from the Hugging Face hub or its local cache: "
            f"{reason(error)}"
        ) from None

    own = {"train": train_split, "validation": validation_split, "test": test_split}
    named = {f"{split}_split": wanted for split, wanted in own.items() if wanted}
    further = {f"eval_splits.{split}": wanted for split, wanted in (eval_splits or {}).items()}
    _require(splits, {**named, **further})
    return splits_of(
        partial(_split, splits, path, f"{path}{'/' + name if name else ''}"),
        train_split,
        validation_split,
        test_split,
        eval_splits,
        (max_train_examples, max_eval_examples),
        Division(validation_share, test_share, split_seed, group_column, split_column, folds, fold),
    )


def _require(splits: Mapping[str, Dataset], named: Mapping[str, str]) -> None:
    for key, wanted in named.items():
        if wanted not in splits:
            raise DataError(f"data.{key}={wanted!r}: no such split; {nearest(wanted, splits)}")


def _split(
    splits: Mapping[str, Dataset], path: str, source: str, wanted: str, limit: int | None
) -> Split:
    rows = splits[wanted]
    rows = rows.select(range(min(limit or len(rows), len(rows))))
    place = f"{source}, split {wanted}"
    name_in_mlflow, digest = f"{path}-{wanted}", rows._fingerprint
    return Split(rows, name_in_mlflow, place, digest, where=lambda i: f"{place}, row {i + 1}")
