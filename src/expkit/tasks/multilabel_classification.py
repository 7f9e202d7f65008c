"""Any number of labels for a text or for a pair of texts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from scipy.special import expit
from transformers import PretrainedConfig, PreTrainedModel

from expkit.config.constraints import at_least
from expkit.data.labels import LabelSets, label_of
from expkit.data.splits import Record, Split, Splits
from expkit.data.steps import Batch
from expkit.metrics.local import LABELS, PROBABILITIES
from expkit.metrics.multilabel import OF_ALL, by_label
from expkit.metrics.outcomes import Report
from expkit.tasks.by_label import draw_by_label
from expkit.tasks.interface import Scores, Seen, Tokenizer
from expkit.tasks.text_classification import TextClassification
from expkit.terminal.errors import DataError

if TYPE_CHECKING:
    import evaluate


class MultilabelClassification(TextClassification):
    """Sequence classification with binary cross-entropy for each label.

    Args:
        text_columns: one column, or two for pairs.
        label_column: a list of labels, which are names or ids.
        label_separator: what stands between two labels, where `label_column` holds texts.
        label_columns: in place of `label_column`, one column of 0 and 1 for each label.
        labels: the names in the order of their ids; None: those of the training data, sorted.
        max_length: in tokens; of a pair, the longer text is cut first.
        metrics: `evaluate.Metric` objects on 0 and 1 for each label of an example, or on probabilities.
    """

    short_name = "multilabel"
    problem_type = "multi_label_classification"
    _labels: LabelSets

    def __init__(
        self,
        text_columns: Sequence[str],
        label_column: str | None,
        label_separator: str | None,
        label_columns: Sequence[str] | None,
        labels: Sequence[str] | None,
        max_length: Annotated[int, at_least(4)],
        metrics: "Mapping[str, evaluate.Metric]",
    ) -> None:
        super().__init__(text_columns, label_column or "", labels, max_length, metrics)
        self._labels = LabelSets(label_column, label_separator, label_columns, labels or ())

    def setup(self, splits: Splits) -> None:
        """Find the labels as text classification does. Raises DataError for a name that is taken."""
        super().setup(splits)
        if taken := [name for name in self._labels.names if f"f1_{name}" in OF_ALL]:
            raise DataError(
                f"{splits.train.source}: a label is called {taken[0]!r}, but f1_{taken[0]} is the mean over "
                "all labels; rename it"
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

    def labels(self, split: Split) -> list[list[float]]:
        """For each label of an example 1.0 if it has it, else 0.0."""
        ones = np.eye(len(self._labels.names))
        return [ones[ids].sum(0).tolist() for ids in self._labels.sets(split)]

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Binary cross-entropy summed over examples and labels, and logits (batch, labels)."""
        logits = self.logits(model, batch)
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), batch["labels"], reduction="sum"
        )
        return losses, logits

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[list[float]]:
        """Logits of the labels for each example."""
        return logits.float().tolist()

    def _probabilities(self, predictions: list[Any]) -> np.ndarray:
        """(examples, labels), from logits."""
        return expit(np.asarray(predictions, dtype=float))

    def _decided(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels are predicted, (examples, labels)."""
        return probabilities >= 0.5

    def for_metrics(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[list[Any], list[Any]]:
        """0 or 1 for each label, as predicted and as true."""
        decided = self._decided(self._probabilities(predictions))
        return decided.astype(int).tolist(), _true(encoded).tolist()

    def seen_by(self, needs: str, predictions: list[Any], split: Split, encoded: Dataset) -> Seen:
        """Whole examples, but for confidences one item for each label: [1, its probability], and 0 or 1."""
        if needs == LABELS:
            return super().seen_by(needs, predictions, split, encoded)
        probabilities, true = self._probabilities(predictions), _true(encoded)
        if needs == PROBABILITIES:
            return probabilities.tolist(), true.tolist(), None
        items = [[1, p] for p in probabilities.ravel().tolist()]
        return items, true.ravel().tolist(), np.repeat(range(len(true)), true.shape[1]).tolist()

    def metric_arguments(self) -> dict[str, Any]:
        """The names of the labels, and their number."""
        return {**super().metric_arguments(), "label_names": self._labels.names}

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of always naming the labels that give the best micro F1 on the training split.

        The probability of each label is its share there.
        """
        shares, true = _true(encoded["train"]).mean(0), _true(encoded["validation"]).tolist()
        order = np.argsort(-shares, kind="stable")
        f1 = shares[order].cumsum() / (np.arange(1, len(shares) + 1) + shares.sum())
        constant = np.isin(range(len(shares)), order[: f1.argmax() + 1]).astype(int)
        scores = self.compute([constant.tolist()] * len(true), true)
        scores |= self.compute([shares.tolist()] * len(true), true, PROBABILITIES)
        return {f"constant_{name}": value for name, value in scores.items()}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Texts with true and predicted labels, and precision, recall and F1 of each label."""
        names, probabilities = self._labels.names, self._probabilities(predictions)
        decided, true = self.for_metrics(predictions, split, encoded)
        scores = by_label(np.asarray(decided), np.asarray(true), names)
        table = {
            **{name: split.column(name) for name in self.columns},
            "labels": [_named(names, row) for row in true],
            "predicted": [_named(names, row) for row in decided],
            "probabilities": [
                dict(zip(names, row, strict=True)) for row in probabilities.round(4).tolist()
            ],
        }
        return Report(
            tables={"predictions": table, "by_label": scores},
            figures={"by_label": partial(draw_by_label, scores)},
        )

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """The share of examples that have each label, and how many labels an example has."""
        sets = self._labels.sets(split)
        mean, none = sum(map(len, sets)) / len(sets), sets.count([]) / len(sets)
        facts = super().describe_split(split, tokenizer)
        return {**facts, "labels of an example": f"{mean:.2f} on average, none in {none:.0%}"}

    def shown(self, prediction: list[float], config: PretrainedConfig) -> Record:
        """The names of the labels; perhaps the probabilities of all labels, not rounded."""
        names = [config.id2label[i] for i in range(config.num_labels)]
        probabilities = self._probabilities(prediction)
        row: Record = {"labels": _named(names, self._decided(probabilities))}
        if self.shows_probabilities:
            row["probabilities"] = dict(zip(names, probabilities.tolist(), strict=True))
        return row


def _true(encoded: Dataset) -> np.ndarray:
    """0 or 1 for each label of each example, (examples, labels)."""
    return np.asarray(encoded["labels"][:], dtype=int)


def _named(names: Sequence[str], chosen: Sequence[Any]) -> list[str]:
    return [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
