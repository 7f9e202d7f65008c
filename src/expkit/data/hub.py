"""`data=hub`: a data set from the Hugging Face hub."""

from typing import Annotated

from datasets import Dataset, load_dataset

from expkit.config.constraints import at_least
from expkit.data.splits import Split, Splits
from expkit.terminal.errors import DataError, nearest, reason


def load(
    path: str,
    name: str | None,
    revision: str | None,
    train_split: str,
    validation_split: str,
    test_split: str | None,
    max_train_examples: Annotated[int, at_least(1)] | None,
    max_eval_examples: Annotated[int, at_least(1)] | None,
) -> Splits:
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

    def split(key: str, wanted: str, limit: int | None) -> Split:
        if wanted not in splits:
            raise DataError(f"data.{key}={wanted!r}: no such split; {nearest(wanted, splits)}")
        rows: Dataset = splits[wanted]
        rows = rows.select(range(min(limit or len(rows), len(rows))))
        source = f"{path}{'/' + name if name else ''}, split {wanted}"
        name_in_mlflow, digest = f"{path}-{wanted}", rows._fingerprint
        return Split(rows, name_in_mlflow, source, digest, where=lambda i: f"{source}, row {i + 1}")

    return Splits(
        split("train_split", train_split, max_train_examples),
        split("validation_split", validation_split, max_eval_examples),
        split("test_split", test_split, max_eval_examples) if test_split else None,
    )
