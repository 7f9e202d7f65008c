"""How a run has ended, as the process that carried it out tells the one that asked for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# Asked after each evaluation with the share of the steps that are done and the objective.
IsPromising = Callable[[float, float], bool]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Args:
        state: `skipped` where a sweep was stopped before the run began.
        run_id: of the run in MLflow; empty where nobody here knows it.
        objective: scored by the exported model of the best checkpoint; NaN if there is none.
    """

    state: Literal["finished", "failed", "pruned", "skipped"]
    run_id: str = ""
    objective: float = math.nan
