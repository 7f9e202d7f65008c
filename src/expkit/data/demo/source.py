"""`data=demo`: generated examples."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Annotated

from datasets import Dataset

from expkit.config.constraints import at_least
from expkit.data.splits import Record, Split, Splits

Generator = Callable[..., Iterator[Record]]


@dataclass(frozen=True)
class _Call:
    """A generator that equals others with the same key: Hydra makes a new one for each job."""

    key: object
    generator: Generator = field(compare=False)


@lru_cache(maxsize=16)
def _generated(call: _Call, split: str, size: int, seed: int) -> list[Record]:
    """The records; making them again would delay the first step of the next job in this process."""
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
        sizes: how many examples `train`, `validation` and `test` get; a test split of 0 is left out.
    """
    limits = {"train": max_train_examples}
    call = _Call(generator, generator)
    if isinstance(generator, partial):
        arguments = generator.args, sorted(generator.keywords.items())
        call = _Call((generator.func, repr(arguments)), generator)

    def split(name: str) -> Split:
        size = min(sizes[name], limits.get(name, max_eval_examples) or sizes[name])
        records = _generated(call, name, size, seed)
        rows = Dataset.from_list(records)
        digest = hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
        source = f"demo {name} split"
        return Split(rows, f"demo-{name}", source, digest, lambda i: f"{source}, example {i + 1}")

    return Splits(split("train"), split("validation"), split("test") if sizes["test"] else None)
