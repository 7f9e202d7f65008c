"""What is kept of a scored split: what its metrics saw, and what is worth looking at."""

import gzip
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "outcomes.json.gz"


@dataclass(frozen=True)
class Outcomes:
    """The items that some metrics of a task compare; JSON must be able to hold all of them.

    Attributes:
        inputs: the `digest` of the inputs. Runs are compared only if it and the references are equal.
        metrics: the names of the metrics in `task.metrics`.
        predictions: one for each item, as `compute` takes them.
        references: one for each item, or None for metrics that take no references.
        examples: the number of the example that each item belongs to, or None if every item is an example.
            A bootstrap draws examples, so they should be independent of each other.
        settings: further arguments for the metrics that take them, such as `num_labels`.
    """

    inputs: str
    metrics: Sequence[str]
    predictions: Sequence[Any]
    references: Sequence[Any] | None
    examples: Sequence[int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def count(self) -> int:
        """Return the number of examples; any after the last item have nothing to score."""
        if self.examples is None:
            return len(self.predictions)
        return max(self.examples, default=-1) + 1


@dataclass(frozen=True)
class Report:
    """What is worth looking at after an evaluation: tables by column, pictures, and tags.

    A figure is a function that writes a picture to a file; it is called when the model is safe, and left
    out if it fails. Tags are those of the run.
    """

    tables: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    figures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def digest(inputs: Iterable[Any]) -> str:
    """Return 32 hexadecimal digits that stand for the inputs of a split, in their order."""
    made = hashlib.sha256()
    for value in inputs:
        made.update(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    return made.hexdigest()[:32]


def taken_by(function: Callable[..., Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values out of `known` that a function has a parameter for."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in known.items() if name in parameters}


def write(outcomes: Sequence[Outcomes], file: Path) -> None:
    """Write compressed JSON."""
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        json.dump([asdict(part) for part in outcomes], stream, ensure_ascii=False)


def read(file: Path) -> list[Outcomes]:
    """Read what `write` has written."""
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return [Outcomes(**part) for part in json.load(stream)]
