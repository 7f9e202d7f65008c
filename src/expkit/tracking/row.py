"""One line of the summary of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """What became of a job. `state` is one of MLflow's, PRUNED, or NOT STARTED.

    `losses` are (steps, values) of train/loss.
    """

    name: str
    differing: Mapping[str, str]
    state: str
    objective: str
    value: float | None = None
    run_id: str = ""
    seconds: float | None = None
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[Sequence[int], Sequence[float]] = ((), ())
    task: str = ""
    direction: str = ""  # minimize or maximize; of a row with a value
