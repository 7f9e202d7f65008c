"""What the metrics of expkit have in common."""

import sys
from typing import Any, ClassVar

import numpy as np

# evaluate works without the pipelines of transformers; importing these, and torch for them, takes seconds.
_spared = {"transformers.pipelines"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_spared))  # type: ignore[arg-type]
import evaluate  # noqa: E402

for _name in _spared:
    del sys.modules[_name]

# What a metric needs to see of each item:
LABELS = "labels"  # the predicted label, or what else the task predicts
CONFIDENCES = "confidences"  # [the id of the most probable label, its probability]
PROBABILITIES = "probabilities"  # the probabilities of all labels


def needs_of(metric: object) -> str:
    """What a metric needs to see of each item; of somebody else's it is the label."""
    return str(getattr(metric, "needs", LABELS))


class LocalMetric(evaluate.Metric):
    """Computed in memory and without a network; `takes` is what one item of its inputs holds."""

    takes: ClassVar[Any]
    needs: str = LABELS

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _compute(self, *given: Any, **named: Any) -> dict[str, float]:
        """The scores of the statistics of all items, for a metric that has no other way."""
        made = self.statistics(*given, **named)
        scores = made.scores(np.asarray(made.values.sum(axis=0)).reshape(1, -1))
        return {name: float(values[0]) for name, values in scores.items()}

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "", citation="", features=self.takes
        )
