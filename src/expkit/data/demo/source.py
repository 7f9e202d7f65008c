"""`data=demo`: generated examples."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Annotated

from datasets import Dataset

from expkit.config.constraints import at_least
from expkit.data.splits import Record, Split, Splits

Generator = Callable[..., Iterator[Record]]


class _Call:
    """A generator, equal to another that would yield the same: Hydra makes a new one for each job."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._key: object = generator
        if isinstance(generator, partial):
            arguments = (generator.args, sorted(generator.keywords.items()))
            self._key = (generator.func, repr(arguments))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=16)
def _generated(call: _Call, split: str, size: int, seed: int) -> list[Record]:
    """Generating takes longer than all else before the first step of the next job of a process."""
    return list(call.generator(split, size, seed))


def load(
    generator: Generator,
    sizes: Mapping[str, Annotated[int, at_least(0)]],
    seed: Annotated[int, at_least(0)],
    max_train_examples: Annotated[int, at_least(1)] | None,
    max_eval_examples: Annotated[int, at_least(1)] | None,
) -> Splits:
    """Generate the splits.

    Args:
        generator: called as `generator(split, size, seed)`.
        sizes: examples for `train`, `validation` and `test`; a test split of 0 is left out.
    """
    limits = {"train": max_train_examples}

    def split(name: str) -> Split:
        size = min(sizes[name], limits.get(name, max_eval_examples) or sizes[name])
        records = _generated(_Call(generator), name, size, seed)
        rows = Dataset.from_list(records)
        digest = hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
        source = f"demo {name} split"
        return Split(rows, f"demo-{name}", source, digest, lambda i: f"{source}, example {i + 1}")

    return Splits(split("train"), split("validation"), split("test") if sizes["test"] else None)
