"""Metrics of a single label for each example, on label ids."""

from collections.abc import Sequence

import datasets
import numpy as np
from scipy.sparse import csr_array

from expkit.metrics.local import LocalMetric
from expkit.metrics.statistics import Scores, Statistics, share

Array = np.ndarray
Values = dict[str, float]


class LabelMetric(LocalMetric):
    """Compares a predicted with a true label id for each example.

    What scores is imported when it is needed first: training begins without it.
    """

    direction = "maximize"
    takes = datasets.Features(
        {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
    )

    def statistics(self, predictions: Sequence[int], references: Sequence[int]) -> Statistics:
        """Whether each label that occurs is rightly predicted, predicted and true, in each example."""
        labels, ids = np.unique([*predictions, *references], return_inverse=True)
        predicted, true = np.split(ids, 2)
        items, right = np.arange(len(true)), np.flatnonzero(predicted == true)
        rows = np.concatenate([right, items, items])
        columns = np.concatenate([true[right], predicted + len(labels), true + 2 * len(labels)])
        values = csr_array((np.ones(len(rows)), (rows, columns)), (len(items), 3 * len(labels)))
        return Statistics(values, lambda sums: self._scores(labels, *np.split(sums, 3, axis=1)))

    def _scores(self, labels: Array, right: Array, predicted: Array, true: Array) -> Scores:
        """The scores of sets of examples, from three arrays of counts, each (sets, labels)."""
        raise NotImplementedError


class Accuracy(LabelMetric):
    """The share of examples whose label is right."""

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        from sklearn.metrics import accuracy_score

        return {"accuracy": float(accuracy_score(references, predictions))}

    def _scores(self, labels: Array, right: Array, predicted: Array, true: Array) -> Scores:
        return {"accuracy": share(right.sum(1), true.sum(1))}


class F1(LabelMetric):
    """F1 of label 1, as GLUE scores MRPC and QQP; with more than two labels the macro average."""

    def _compute(
        self, predictions: list[int], references: list[int], num_labels: int | None = None
    ) -> Values:
        from sklearn.metrics import f1_score

        is_binary = (num_labels or _fewest_labels(predictions, references)) == 2
        average = "binary" if is_binary else "macro"
        return {"f1": float(f1_score(references, predictions, average=average, zero_division=0))}

    def statistics(
        self, predictions: Sequence[int], references: Sequence[int], num_labels: int | None = None
    ) -> Statistics:
        """Whether each label, or label 1 of two, is rightly predicted, predicted and true."""
        if (num_labels or _fewest_labels(predictions, references)) != 2:
            return super().statistics(predictions, references)
        predicted, true = np.equal([predictions, references], 1)
        values = np.stack([predicted & true, predicted, true], axis=1).astype(float)
        return Statistics(
            values, lambda sums: {"f1": share(2 * sums[:, 0], sums[:, 1] + sums[:, 2])}
        )

    def _scores(self, labels: Array, right: Array, predicted: Array, true: Array) -> Scores:
        return {"f1": _macro_f1(right, predicted, true)}


class MacroF1(LabelMetric):
    """The mean of the F1 scores of all labels."""

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        from sklearn.metrics import f1_score

        score = f1_score(references, predictions, average="macro", zero_division=0)
        return {"macro_f1": float(score)}

    def _scores(self, labels: Array, right: Array, predicted: Array, true: Array) -> Scores:
        return {"macro_f1": _macro_f1(right, predicted, true)}


class Matthews(LabelMetric):
    """Matthews' correlation coefficient, as GLUE scores CoLA."""

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        from sklearn.metrics import matthews_corrcoef

        return {"matthews": float(matthews_corrcoef(references, predictions))}

    def _scores(self, labels: Array, right: Array, predicted: Array, true: Array) -> Scores:
        """Gorodkin's form for any number of labels (https://doi.org/10.1016/j.compbiolchem.2004.09.006)."""
        count = true.sum(1)
        covariance = right.sum(1) * count - (predicted * true).sum(1)
        spread = [count**2 - (marginal**2).sum(1) for marginal in (predicted, true)]
        return {"matthews": share(covariance, np.sqrt(spread[0] * spread[1]))}


def _fewest_labels(predictions: Sequence[int], references: Sequence[int]) -> int:
    """How many labels there must be, where nobody says how many there are."""
    return max(*references, *predictions, 1) + 1


def _macro_f1(right: Array, predicted: Array, true: Array) -> Array:
    """The mean over the labels that a set holds, as true or as predicted ones."""
    counted = predicted + true
    return share(share(2 * right, counted).sum(1), (counted > 0).sum(1))
