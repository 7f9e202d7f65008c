"""Metrics of several labels for each example, on 0 and 1 or on probabilities (examples, labels)."""

import math
from collections.abc import Sequence

import datasets
import numpy as np

from expkit.metrics.local import PROBABILITIES, LocalMetric
from expkit.metrics.statistics import Scores, Statistics, share

Rows = Sequence[Sequence[float]]
Names = Sequence[str]

TAKES = datasets.Features(
    dict.fromkeys(("predictions", "references"), datasets.Sequence(datasets.Value("float64")))
)


class MultiLabel(LocalMetric):
    """F1 of all labels together (micro), its mean over labels (macro), `f1_<label>`, and `subset_accuracy`.

    The last one is the share of examples all of whose labels are right. F1 of a label that is neither true nor
    predicted is NaN and does not count in the mean, as in scikit-learn with zero_division=nan. A label named micro or
    macro has none.

    Args:
        names: the scores that `objective` may name; `f1_<label>` can be added.
    """

    direction = "maximize"
    takes = TAKES

    def __init__(self, names: Names = ()) -> None:  # config/direction.py reads the names
        super().__init__()

    def _compute(self, predictions: Rows, references: Rows, label_names: Names) -> dict[str, float]:
        return super()._compute(predictions, references, label_names=label_names)

    def statistics(self, predictions: Rows, references: Rows, label_names: Names) -> Statistics:
        """Whether each label is found, predicted and true; then whether all labels are right, and 1."""
        predicted, true = np.asarray(predictions), np.asarray(references)
        right = (predicted == true).all(1, keepdims=True)
        counts = [predicted * true, predicted, true, right, np.ones_like(right)]
        values = np.concatenate(counts, axis=1, dtype=float)
        return Statistics(values, lambda sums: self._scores(sums, label_names))

    def _scores(self, sums: np.ndarray, label_names: Names) -> Scores:
        found, predicted, true = np.split(sums[:, :-2], 3, axis=1)
        each = _f1(found, predicted, true)
        means = np.ma.masked_invalid(each).mean(1)
        by_label = {f"f1_{name}": each[:, column] for column, name in enumerate(label_names)}
        return by_label | {
            "f1_micro": _f1(found.sum(1), predicted.sum(1), true.sum(1)),
            "f1_macro": np.ma.filled(means.astype(float), math.nan),
            "subset_accuracy": share(sums[:, -2], sums[:, -1]),
        }


def _f1(found: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.where(predicted + true > 0, share(2 * found, predicted + true), math.nan)


class MeanAveragePrecision(LocalMetric):
    """The mean of scikit-learn's average precision over the labels that are true somewhere; NaN if none is.

    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html
    """

    direction = "maximize"
    needs = PROBABILITIES
    takes = TAKES

    def _compute(self, predictions: Rows, references: Rows) -> dict[str, float]:
        from sklearn.metrics import average_precision_score

        probabilities, true = np.asarray(predictions), np.asarray(references)
        occurs = true.any(0)
        if not occurs.any():
            return {"map": math.nan}
        return {"map": float(average_precision_score(true[:, occurs], probabilities[:, occurs]))}
