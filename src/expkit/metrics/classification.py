"""Metrics of a single label for each example, on label ids."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

Values = dict[str, float]


class LabelMetric(evaluate.Metric):
    """Compares a predicted with a true label id for each example."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keep_in_memory=True, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )


class Accuracy(LabelMetric):
    """The share of examples whose label is right."""

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        return {"accuracy": float(accuracy_score(references, predictions))}


class F1(LabelMetric):
    """F1 of label 1, as GLUE scores MRPC and QQP; with more than two labels the macro average."""

    num_labels: int | None = None  # set by the task; None: as many as occur

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        labels = self.num_labels or max(*references, *predictions, 1) + 1
        average = "binary" if labels == 2 else "macro"
        return {"f1": float(f1_score(references, predictions, average=average, zero_division=0))}


class MacroF1(LabelMetric):
    """The mean of the F1 scores of all labels."""

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        return {
            "macro_f1": float(f1_score(references, predictions, average="macro", zero_division=0))
        }


class Matthews(LabelMetric):
    """Matthews' correlation coefficient, as GLUE scores CoLA."""

    def _compute(self, predictions: list[int], references: list[int]) -> Values:
        return {"matthews": float(matthews_corrcoef(references, predictions))}
