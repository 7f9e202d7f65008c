"""The result of a run: the value of the objective for the exported model on the set that it names.

For `eval/NAME` this is the validation split. The result is logged as `final/NAME`, and the values during
training, which decide the weights to keep, as `eval/NAME`. Earlier versions logged only the latter; their
last value is the score of the exported model. For `june/NAME`, a score of the further set `june`, the
result has the name of the objective, and its curve is `eval.june/NAME`.
"""

import math
from collections.abc import Mapping

from expkit.metrics.names import key_of

FINAL, CURVE = "final/", "eval/"
VALIDATION = "validation"


def final_of(objective: str) -> str:
    """Return the name of the result, such as `final/f1` for `eval/f1`; it is not yet a key of MLflow."""
    return FINAL + objective.removeprefix(CURVE) if objective.startswith(CURVE) else objective


def curve_of(objective: str) -> str:
    """Return the name under which the objective is logged during training; not yet a key of MLflow.

    No set has a dot in its name, so `eval.june/` is no group of anything else.
    """
    return objective if objective.startswith(CURVE) else f"eval.{objective}"


def set_of(objective: str) -> str:
    """Return the name of the set that the objective scores."""
    return VALIDATION if objective.startswith(CURVE) else objective.partition("/")[0]


def result_of(metrics: Mapping[str, float], objective: str) -> float | None:
    """Return the result among the metrics that MLflow holds of a run; None if there is none.

    A run that has not finished holds NaN in place of its result.
    """
    final = metrics.get(key_of(final_of(objective)), math.nan)
    return metrics.get(key_of(curve_of(objective))) if math.isnan(final) else final


def with_final(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a run; one of an earlier version gets the last values of its curves as final."""
    if any(name.startswith(FINAL) for name in metrics):
        return dict(metrics)
    curves = {name: value for name, value in metrics.items() if name.startswith(CURVE)}
    return {**metrics, **{final_of(name): value for name, value in curves.items()}}
