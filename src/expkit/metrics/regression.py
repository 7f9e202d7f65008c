"""Metrics of a predicted number for each example. A score that is not defined is NaN, never 0."""

from collections.abc import Sequence

import datasets
import numpy as np

from expkit.metrics.local import LocalMetric
from expkit.metrics.statistics import Statistics, mean

NUMBER = datasets.Value("float64")
# As a share of the sum of squares; less is what rounding leaves of equal numbers.
LEAST_VARIATION = 1e-13

Numbers = Sequence[float]


class MeanSquaredError(LocalMetric):
    """The mean of the squared differences."""

    direction = "minimize"
    takes = datasets.Features({"predictions": NUMBER, "references": NUMBER})

    def statistics(self, predictions: Numbers, references: Numbers) -> Statistics:
        """The squared difference of each example."""
        return mean("mse", np.subtract(predictions, references) ** 2)


class MeanAbsoluteError(MeanSquaredError):
    """The mean of the absolute differences."""

    def statistics(self, predictions: Numbers, references: Numbers) -> Statistics:
        """The absolute difference of each example."""
        return mean("mae", np.abs(np.subtract(predictions, references)))


class Pearson(LocalMetric):
    """Pearson's correlation; NaN where all predictions or all references are equal."""

    direction = "maximize"
    takes = MeanSquaredError.takes

    def statistics(self, predictions: Numbers, references: Numbers) -> Statistics:
        """Both numbers of each example, centred so that nothing cancels out, their squares and their product."""
        x, y = (np.subtract(numbers, np.mean(numbers)) for numbers in (predictions, references))
        error = np.subtract(predictions, references) ** 2
        values = np.stack([np.ones_like(x), x, x**2, y, y**2, x * y, error], axis=1)
        return Statistics(values, lambda sums: self._scores(*sums.T))

    def _scores(self, *sums: np.ndarray) -> dict[str, np.ndarray]:
        n, x, xx, y, yy, xy, _ = sums
        spread = np.sqrt(_variation(n, x, xx)) * np.sqrt(_variation(n, y, yy))
        return {"pearson": (xy - x * y / n) / spread}


class R2(Pearson):
    """1 less the squared error as a share of that of the mean; NaN where all references are equal."""

    def _scores(self, *sums: np.ndarray) -> dict[str, np.ndarray]:
        n, _, _, y, yy, _, error = sums
        return {"r2": 1 - error / _variation(n, y, yy)}


class Spearman(LocalMetric):
    """Pearson's correlation of the ranks, where equal numbers share their mean rank; NaN as there."""

    direction = "maximize"
    takes = MeanSquaredError.takes

    def _compute(self, predictions: Numbers, references: Numbers) -> dict[str, float]:
        from scipy.stats import rankdata

        return {
            "spearman": Pearson()._compute(*map(rankdata, (predictions, references)))["pearson"]
        }


def _variation(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The sum of squared distances from the mean; NaN for numbers that are equal."""
    variation = squares - total**2 / n
    return np.where(variation > LEAST_VARIATION * squares, variation, np.nan)
