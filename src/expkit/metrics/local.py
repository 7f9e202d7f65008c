"""What the metrics of expkit have in common."""

from typing import Any, ClassVar

import evaluate


class LocalMetric(evaluate.Metric):
    """Computed in memory and without a network; `takes` is what one item of its inputs holds."""

    takes: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "", citation="", features=self.takes
        )
