"""Metrics of several labels for each example, on 0 and 1 or on probabilities (examples, labels)."""

import math
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from expkit.metrics.local import PROBABILITIES, LocalMetric
from expkit.metrics.statistics import Scores, Statistics, share
from expkit.terminal.errors import UserError, nearest

Rows = Sequence[Sequence[float]]

OF_ALL = ("f1_micro", "f1_macro", "subset_accuracy")


class MultiLabel(LocalMetric):
    """F1 over all labels together (micro), as the mean of all labels (macro), and as `f1_<label>` of each.

    Beside them `subset_accuracy`, the share of examples all of whose labels are right. As in scikit-learn with
    zero_division=0, F1 of a label that is neither true nor predicted anywhere is 0, also in the mean.

    Args:
        names: the scores of all labels to compute; `f1_<label>` may be added to make it an objective.
    """

    direction = "maximize"
    takes = datasets.Features(
        dict.fromkeys(("predictions", "references"), datasets.Sequence(datasets.Value("int64")))
    )

    def __init__(self, names: Sequence[str] = OF_ALL) -> None:
        unknown = [name for name in names if name not in OF_ALL and not name.startswith("f1_")]
        if unknown:
            raise UserError(
                f"names: {unknown[0]!r} is no score of several labels; "
                f"{nearest(unknown[0], (*OF_ALL, 'f1_<label>'))}"
            )
        super().__init__()
        self._names = [name for name in OF_ALL if name in names]

    def _compute(
        self, predictions: Rows, references: Rows, label_names: Sequence[str]
    ) -> dict[str, float]:
        return super()._compute(predictions, references, label_names=label_names)

    def statistics(
        self, predictions: Rows, references: Rows, label_names: Sequence[str]
    ) -> Statistics:
        """Whether each label is found, predicted and true; then whether all labels are right, and 1."""
        predicted, true = np.asarray(predictions), np.asarray(references)
        right = (predicted == true).all(1, keepdims=True)
        counts = [predicted * true, predicted, true, right, np.ones_like(right)]
        values = np.concatenate(counts, axis=1, dtype=float)
        return Statistics(values, lambda sums: self._scores(sums, label_names))

    def _scores(self, sums: np.ndarray, label_names: Sequence[str]) -> Scores:
        found, predicted, true = np.split(sums[:, :-2], 3, axis=1)
        each = share(2 * found, predicted + true)
        overall = {
            "f1_micro": share(2 * found.sum(1), (predicted + true).sum(1)),
            "f1_macro": each.mean(1),
            "subset_accuracy": share(sums[:, -2], sums[:, -1]),
        }
        return {name: overall[name] for name in self._names} | {
            f"f1_{name}": each[:, column] for column, name in enumerate(label_names)
        }


class MeanAveragePrecision(LocalMetric):
    """The mean of the average precisions of all labels that are true in at least one example.

    Each is that of https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html.
    For a label without a positive example it is not defined, and without any such label the score is NaN.
    """

    direction = "maximize"
    needs = PROBABILITIES
    takes = datasets.Features(
        {
            "predictions": datasets.Sequence(datasets.Value("float64")),
            "references": datasets.Sequence(datasets.Value("int64")),
        }
    )

    def _compute(self, predictions: Rows, references: Rows) -> dict[str, float]:
        from sklearn.metrics import average_precision_score

        probabilities, true = np.asarray(predictions), np.asarray(references)
        occurs = true.any(0)
        if not occurs.any():
            return {"map": math.nan}
        return {"map": float(average_precision_score(true[:, occurs], probabilities[:, occurs]))}


def by_label(decided: np.ndarray, true: np.ndarray, names: Sequence[str]) -> dict[str, list[Any]]:
    """A table with precision, recall, F1 and the number of positive examples of each label."""
    found, predicted, support = (decided * true).sum(0), decided.sum(0), true.sum(0)
    return {
        "label": list(names),
        "precision": share(found, predicted).tolist(),
        "recall": share(found, support).tolist(),
        "f1": share(2 * found, predicted + support).tolist(),
        "support": support.tolist(),
    }
