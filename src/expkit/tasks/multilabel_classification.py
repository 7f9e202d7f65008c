"""Any number of labels for a text or for a pair of texts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset

from expkit.config.constraints import at_least
from expkit.data.labels import LabelSets, label_of
from expkit.data.splits import Split, Splits
from expkit.data.steps import Batch
from expkit.metrics.local import CONFIDENCES, PROBABILITIES
from expkit.metrics.outcomes import Report
from expkit.tasks.confusion import draw_by_label
from expkit.tasks.interface import Scores, Seen, Tokenizer
from expkit.tasks.reliability import reliability
from expkit.tasks.text_classification import TextClassification


class MultilabelClassification(TextClassification):
    """Sequence classification with binary cross-entropy for each label.

    Args:
        label_column: lists of names or ids; None if there are `label_columns`.
        label_separator: what stands between two labels, where `label_column` holds texts.
        label_columns: columns of 0 and 1, which have the names of the labels.
        metrics: `evaluate.Metric` objects on 0 and 1 for each label of an example, or on probabilities.
        settings: as of `TextClassification`, but class_weights count the examples that have a label, smoothed
            targets are half of label_smoothing and 1 less half of it, and each label has a threshold.
    """

    short_name = "multilabel"
    problem_type = "multi_label_classification"
    has_several = True
    _labels: LabelSets

    def __init__(
        self,
        text_columns: Sequence[str],
        label_column: str | None,
        label_separator: str | None,
        label_columns: Sequence[str] | None,
        labels: Sequence[str] | None,
        max_length: Annotated[int, at_least(4)],
        metrics: Mapping[str, Any],
        **settings: Any,
    ) -> None:
        super().__init__(text_columns, str(label_column), labels, max_length, metrics, **settings)
        self._labels = LabelSets(
            label_columns or [str(label_column)], label_separator, labels or ()
        )

    def strata(self, split: Split) -> Sequence[Any]:
        """Lists of labels as they are written."""
        split.require(self._labels.columns)
        return [list(map(label_of, written)) for written in self._labels.written(split)]

    def gold(self, split: Split) -> Iterator[tuple[list[str], Any]]:
        """The names of the labels."""
        for ids in self._labels.sets(split):
            names = [self._labels.names[i] for i in sorted(ids)]
            yield names, names

    def labels(self, split: Split) -> Iterator[list[float]]:
        """For each label 1.0 if an example has it, else 0.0."""
        ones = np.eye(len(self._labels.names))
        return (ones[ids].sum(0).tolist() for ids in self._labels.sets(split))

    def summed(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor | None = None,
        smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Binary cross-entropy summed over examples and labels; the weights are `pos_weight` of torch."""
        targets = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(
            logits.float(), targets, pos_weight=weights, reduction="sum"
        )

    def training_weight(self, batch: Batch) -> float:
        """The sum of the weights of all labels of all examples; a label that an example lacks counts 1."""
        weight = float(self.count_targets(batch))
        if self._weights is not None:
            weight += float(((self._weights - 1) * batch["labels"]).sum(dtype=torch.float64))
        return weight

    def seen_by(self, needs: str, predictions: list[Any], split: Split, encoded: Dataset) -> Seen:
        """Whole examples, but for confidences one item for each label: [1, its probability], and 0 or 1."""
        if needs != CONFIDENCES:
            return super().seen_by(needs, predictions, split, encoded)
        (probabilities, _), true = self._read(predictions, split, encoded), self._true(encoded)
        items = [[1, p] for p in probabilities.ravel().tolist()]
        return items, true.ravel().tolist(), np.repeat(range(len(true)), true.shape[1]).tolist()

    def metric_arguments(self) -> dict[str, Any]:
        """The names of the labels, and their number."""
        return {**super().metric_arguments(), "label_names": self._labels.names}

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of always naming the labels that give the best micro F1 on the training split.

        The probability of each label is its share there.
        """
        shares = self._true(encoded["train"]).mean(0)
        true = self._true(encoded["validation"]).tolist()
        order = np.argsort(-shares, kind="stable")
        f1 = shares[order].cumsum() / (np.arange(len(shares)) + 1 + shares.sum())
        named = np.isin(range(len(shares)), order[: f1.argmax() + 1]).astype(int).tolist()
        scores = self.compute([named] * len(true), true)
        scores |= self.compute([shares.tolist()] * len(true), true, PROBABILITIES)
        return {f"constant_{name}": value for name, value in scores.items()}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Texts with true and predicted labels, and precision, recall and F1 of each label."""
        from sklearn.metrics import precision_recall_fscore_support

        names, true = self._labels.names, self._true(encoded)
        probabilities, decided = self._read(predictions, split, encoded)
        scores = precision_recall_fscore_support(true, decided, average=None, zero_division=0)
        columns = ("precision", "recall", "f1", "support")
        of_labels = {"label": names, **dict(zip(columns, map(list, scores), strict=True))}
        table = {
            **{name: split.column(name) for name in self.columns},
            "labels": [list(compress(names, row)) for row in true],
            "predicted": [list(compress(names, row)) for row in decided],
            "probabilities": probabilities.round(4).tolist(),
        }
        tables = {"predictions": table, "by_label": of_labels}
        confidences = self.seen_by(CONFIDENCES, predictions, split, encoded)
        figures: dict[str, Any] = {
            "by_label": partial(draw_by_label, of_labels),
            **reliability(confidences),
        }
        return Report(tables, figures)

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """The share of examples with each label, the labels of an example, and texts that are cut."""
        mean = f"{len(self._labels.ids(split)) / len(split):.2f}"
        return {**super().describe_split(split, tokenizer), "labels of an example": mean}
