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
    """Items that some metrics of a task take, and the examples that they belong to.

    All of it must be fit for JSON.

    Attributes:
        inputs: `digest` of what was asked; runs are compared only where it and the references are
            the same.
        metrics: their names in `task.metrics`.
        predictions: one for each item, as `compute` takes them.
        references: the same; None for metrics that take none.
        examples: for each item the number of its example; None: every item is an example of its
            own. Examples are what is drawn anew in a bootstrap, so they should be independent.
        settings: further arguments for the metrics that take them, such as `num_labels`.
    """

    inputs: str
    metrics: Sequence[str]
    predictions: Sequence[Any]
    references: Sequence[Any] | None
    examples: Sequence[int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What is worth looking at after an evaluation: tables by column, pictures, and facts.

    A figure is a function that writes a picture to a file; it is called when the model is safe, and left
    out if it fails. Facts become tags of the run.
    """

    tables: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    figures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


def digest(inputs: Iterable[Any]) -> str:
    """32 hexadecimal digits for the inputs of a split, in their order."""
    made = hashlib.sha256()
    for value in inputs:
        made.update(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    return made.hexdigest()[:32]


def taken_by(function: Callable[..., Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values out of `known` that a function has a parameter for."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in known.items() if name in parameters}


def write(outcomes: Sequence[Outcomes], file: Path) -> None:
    """As compressed JSON."""
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        json.dump([asdict(part) for part in outcomes], stream, ensure_ascii=False)


def read(file: Path) -> list[Outcomes]:
    """What `write` wrote."""
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return [Outcomes(**part) for part in json.load(stream)]
