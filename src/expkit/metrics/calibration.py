"""Whether probabilities are right: of the answers that a model is 80 % sure of, 80 % should be right."""

from collections.abc import Sequence

import datasets
import numpy as np

from expkit.metrics.local import CONFIDENCES, LocalMetric
from expkit.metrics.statistics import Statistics, share

BINS = 15  # of equal width, as in Guo et al.


class ECE(LocalMetric):
    """Expected calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599).

    The mean over all items of the distance between the confidence and the share of right answers in the
    item's bin of confidences.
    """

    direction = "minimize"
    needs = CONFIDENCES
    takes = datasets.Features(
        {
            "predictions": datasets.Sequence(datasets.Value("float64")),
            "references": datasets.Value("int64"),
        }
    )

    def statistics(
        self, predictions: Sequence[Sequence[float]], references: Sequence[int]
    ) -> Statistics:
        """For each bin, the item's confidence minus 1 if its answer is right; then that it is one."""
        bins, confidences, right = binned(predictions, references)
        values = np.zeros((len(bins), BINS + 1))
        values[np.arange(len(bins)), bins] = confidences - right
        values[:, BINS] = 1
        return Statistics(
            values, lambda sums: {"ece": share(np.abs(sums[:, :BINS]).sum(1), sums[:, BINS])}
        )


def binned(
    predictions: Sequence[Sequence[float]], references: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bin of each item, its confidence, and whether its answer is right.

    A bin holds its upper bound, but not its lower one.
    """
    labels, confidences = np.asarray(predictions, dtype=float).reshape(-1, 2).T
    numbers = np.nan_to_num(
        np.ceil(confidences * BINS)
    )  # NaN, of training that diverges, is no index
    bins = np.clip(numbers.astype(int) - 1, 0, BINS - 1)
    return bins, confidences, labels == np.asarray(references)
