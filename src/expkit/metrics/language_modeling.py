"""Metrics of language models."""

import math
from typing import Any

import datasets
import evaluate

LARGEST_EXPONENT = 700.0  # exp of more is infinite in double precision


class Perplexity(evaluate.Metric):
    """exp of the mean negative log-likelihood."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keep_in_memory=True, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            features=datasets.Features({"predictions": datasets.Value("float64")}),
        )

    def _compute(self, predictions: list[float]) -> dict[str, float]:
        """The perplexity of items with these negative log-likelihoods (in nats)."""
        mean = sum(predictions) / len(predictions)
        return {"perplexity": math.exp(min(mean, LARGEST_EXPONENT))}
