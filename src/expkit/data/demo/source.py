"""`data=demo`: generated examples."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping

from datasets import Dataset

from expkit.data.splits import Record, Split, Splits

Generator = Callable[..., Iterator[Record]]


def load(
    generator: Generator,
    sizes: Mapping[str, int],
    seed: int,
    max_train_examples: int | None,
    max_eval_examples: int | None,
) -> Splits:
    """Generate the splits.

    Args:
        generator: called as `generator(split, size, seed)`.
        sizes: examples for `train`, `validation` and `test`; a test split of 0 is left out.
    """
    limits = {"train": max_train_examples}

    def split(name: str) -> Split:
        size = min(sizes[name], limits.get(name, max_eval_examples) or sizes[name])
        records = list(generator(name, size, seed))
        digest = hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
        source = f"demo {name} split"
        return Split(
            Dataset.from_list(records),
            name=f"demo-{name}",
            source=source,
            digest=digest,
            where=lambda i: f"{source}, example {i + 1}",
        )

    return Splits(split("train"), split("validation"), split("test") if sizes["test"] else None)
