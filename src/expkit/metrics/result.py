"""The result of a run: the value of the objective for the exported model on the validation split.

It is logged as `final/NAME`, and the values during training, which decide the weights to keep, as
`eval/NAME`. Earlier versions logged only the latter; their last value is the score of the exported model.
"""

import math
from collections.abc import Mapping

from expkit.metrics.names import key_of

FINAL, CURVE = "final/", "eval/"


def final_of(objective: str) -> str:
    """Return the name of the result, such as `final/f1` for `eval/f1`; it is not yet a key of MLflow."""
    return FINAL + objective.removeprefix(CURVE)


def result_of(metrics: Mapping[str, float], objective: str) -> float | None:
    """Return the result among the metrics that MLflow holds of a run; None if there is none.

    A run that has not finished holds NaN in place of its result.
    """
    final = metrics.get(key_of(final_of(objective)), math.nan)
    return metrics.get(key_of(objective)) if math.isnan(final) else final


def with_final(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a run; one of an earlier version gets the last values of its curves as final."""
    if any(name.startswith(FINAL) for name in metrics):
        return dict(metrics)
    curves = {name: value for name, value in metrics.items() if name.startswith(CURVE)}
    return {**metrics, **{final_of(name): value for name, value in curves.items()}}
