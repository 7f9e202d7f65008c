"""Metrics of a predicted number for each example. A score that is not defined is NaN, never 0."""

from collections.abc import Sequence

import datasets
import numpy as np

from expkit.metrics.local import LocalMetric
from expkit.metrics.statistics import Scores, Statistics, mean

NUMBER = datasets.Value("float64")
LEAST_VARIANCE = (
    1e-13  # as a share of the sum of squares; less is what rounding leaves of equal numbers
)


class NumberMetric(LocalMetric):
    """Compares a predicted with a true number for each example."""

    takes = datasets.Features({"predictions": NUMBER, "references": NUMBER})


class MeanSquaredError(NumberMetric):
    """The mean of the squared differences."""

    direction = "minimize"

    def statistics(self, predictions: Sequence[float], references: Sequence[float]) -> Statistics:
        """The squared difference of each example."""
        return mean("mse", np.subtract(predictions, references) ** 2)


class MeanAbsoluteError(NumberMetric):
    """The mean of the absolute differences."""

    direction = "minimize"

    def statistics(self, predictions: Sequence[float], references: Sequence[float]) -> Statistics:
        """The absolute difference of each example."""
        return mean("mae", np.abs(np.subtract(predictions, references)))


class R2(NumberMetric):
    """1 - the squared error as a share of that of the mean; NaN where all references are equal."""

    direction = "maximize"

    def statistics(self, predictions: Sequence[float], references: Sequence[float]) -> Statistics:
        """The squared difference of each example, and what the variance of the references needs."""
        true = np.subtract(references, np.mean(references))
        values = [np.subtract(predictions, references) ** 2, np.ones_like(true), true, true**2]

        def scores(sums: np.ndarray) -> Scores:
            error, *of_true = sums.T
            return {"r2": 1 - error / _variation(*of_true)}

        return Statistics(np.stack(values, axis=1), scores)


class Pearson(NumberMetric):
    """Pearson's correlation; NaN where all predictions or all references are equal."""

    direction = "maximize"

    def statistics(self, predictions: Sequence[float], references: Sequence[float]) -> Statistics:
        """Both numbers of each example, their squares, and their product."""
        x, y = (np.subtract(numbers, np.mean(numbers)) for numbers in (predictions, references))
        values = np.stack([np.ones_like(x), x, x**2, y, y**2, x * y], axis=1)

        def scores(sums: np.ndarray) -> Scores:
            n, x, xx, y, yy, xy = sums.T
            spread = np.sqrt(_variation(n, x, xx)) * np.sqrt(_variation(n, y, yy))
            return {"pearson": (xy - x * y / n) / spread}

        return Statistics(values, scores)


class Spearman(NumberMetric):
    """Pearson's correlation of the ranks, where equal numbers share their mean rank; NaN as there."""

    direction = "maximize"

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        from scipy.stats import rankdata

        ranks = rankdata(predictions), rankdata(references)
        return {"spearman": Pearson()._compute(*ranks)["pearson"]}


def _variation(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The sum of squared distances from the mean; NaN for numbers that are equal.

    The numbers are centred before they are summed, so hardly anything cancels out.
    """
    variation = squares - total**2 / n
    return np.where(variation > LEAST_VARIANCE * squares, variation, np.nan)
