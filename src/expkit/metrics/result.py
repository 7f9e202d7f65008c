"""The result of a run: the objective as the exported model scores it on the validation split.

The curve `eval/` decides which weights are kept. Runs of before `final/` hold only the curve, whose
last value is the score of the exported model.
"""

import math
from collections.abc import Mapping

from expkit.metrics.names import key_of

FINAL, CURVE = "final/", "eval/"


def final_of(objective: str) -> str:
    """`final/f1` for `eval/f1`: the name of the result, not yet a key of MLflow."""
    return FINAL + objective.removeprefix(CURVE)


def result_of(metrics: Mapping[str, float], objective: str) -> float | None:
    """The value of the objective among the metrics of a run as MLflow holds them; None without one.

    A run that has not finished holds NaN in the place of its result.
    """
    final = metrics.get(key_of(final_of(objective)), math.nan)
    return metrics.get(key_of(objective)) if math.isnan(final) else final


def with_final(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a run; one of before `final/` gets the last values of its curves by these names."""
    if any(name.startswith(FINAL) for name in metrics):
        return dict(metrics)
    curves = {name: value for name, value in metrics.items() if name.startswith(CURVE)}
    return {**metrics, **{final_of(name): value for name, value in curves.items()}}
