"""The outcome of a run, which the process that carried it out returns to the one that started it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# Called after each evaluation with the share of the steps that are done and the objective.
IsPromising = Callable[[float, float], bool]


@dataclass(frozen=True)
class Outcome:
    """How a run has ended.

    Args:
        state: `skipped` means that the sweep was stopped before the run began.
        run_id: the id of the run in MLflow; empty if it is not known here.
        objective: the score of the exported model; NaN if there is none.
    """

    state: Literal["finished", "failed", "pruned", "skipped"]
    run_id: str = ""
    objective: float = math.nan
