"""Metrics of language models."""

import math
from collections.abc import Sequence

import datasets
import numpy as np

from expkit.metrics.local import LocalMetric
from expkit.metrics.statistics import Scores, Statistics, share

LARGEST_EXPONENT = 700.0  # exp of more is infinite in double precision


class Perplexity(LocalMetric):
    """exp of the mean negative log-likelihood."""

    direction = "minimize"
    takes = datasets.Features({"predictions": datasets.Value("float64")})

    def _compute(self, predictions: list[float]) -> dict[str, float]:
        """The perplexity of items with these negative log-likelihoods (in nats)."""
        mean = sum(predictions) / len(predictions)
        return {"perplexity": math.exp(min(mean, LARGEST_EXPONENT))}

    def statistics(self, predictions: Sequence[float], references: None = None) -> Statistics:
        """The negative log-likelihood of each item, and that it is one."""

        def scores(sums: np.ndarray) -> Scores:
            mean = share(sums[:, 0], sums[:, 1])
            return {"perplexity": np.exp(np.minimum(mean, LARGEST_EXPONENT))}

        return Statistics(np.stack([predictions, np.ones(len(predictions))], axis=1), scores)
