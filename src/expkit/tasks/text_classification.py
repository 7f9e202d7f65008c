"""One label for a text or for a pair of texts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel

from expkit.config.constraints import at_least
from expkit.data.labels import LabelColumn, label_of
from expkit.data.splits import Record, Split, Splits
from expkit.data.steps import Batch
from expkit.metrics.outcomes import Report
from expkit.models.fit import read_as_text
from expkit.models.head import Head
from expkit.models.last_layer import last_layer_at
from expkit.tasks.confusion import draw_confusion
from expkit.tasks.interface import Scores, Task, Tokenizer, logits_of, naming
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    import evaluate


class TextClassification(Task):
    """Sequence classification with cross-entropy.

    Args:
        text_columns: one column, or two for pairs.
        label_column: names, or the ids 0, 1, ... of names that are given.
        labels: the names in the order of their ids; None: those that the training data give to
            their ids, or else its values, sorted.
        max_length: in tokens; of a pair, the longer text is cut first.
        metrics: `evaluate.Metric` objects on label ids.
    """

    short_name = "classification"  # in names of runs
    pipeline = "text-classification"
    problem_type = "single_label_classification"
    shows_probabilities = False

    def __init__(
        self,
        text_columns: Sequence[str],
        label_column: str,
        labels: Sequence[str] | None,
        max_length: Annotated[int, at_least(4)],
        metrics: "Mapping[str, evaluate.Metric]",
    ) -> None:
        if len(text_columns) not in (1, 2):
            raise UserError(
                f"task.text_columns={list(text_columns)}: expected one column, or two for pairs"
            )
        super().__init__(text_columns, max_length, metrics)
        self._label_column = label_column
        self._labels = LabelColumn(label_column, labels or ())

    def setup(self, splits: Splits) -> None:
        """Find the labels in the training split and check the other splits against them."""
        for split in splits.named().values():
            split.require([*self.columns, *self._labels.columns])
        super().setup(splits)
        self._labels.setup(splits)

    def adopt(self, config: PretrainedConfig) -> None:
        """The names of the labels."""
        self._labels.adopt([config.id2label[i] for i in range(config.num_labels)])

    def strata(self, split: Split) -> Sequence[Any]:
        """The labels as they are written."""
        split.require([self._label_column])
        return list(map(label_of, split.values(self._label_column)))

    def gold(self, split: Split) -> Iterator[tuple[list[str], Any]]:
        """The name of the label, which ids in the data stand for."""
        names = (self._labels.names[i] for i in self._labels.ids(split))
        return (([name], name) for name in names)

    def head(self) -> Head:
        """Sequence classification with the names of the labels in the model's config."""
        return Head(
            "AutoModelForSequenceClassification",
            {**naming(self._labels.names), "problem_type": self.problem_type},
            configure=read_as_text,
        )

    def labels(self, split: Split) -> Iterable[Any]:
        """The ids of the labels."""
        return self._labels.ids(split)

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """−Σ log softmax(logits)[label], and logits (batch, labels)."""
        logits = self.logits(model, batch)
        return F.cross_entropy(logits.float(), batch["labels"], reduction="sum"), logits

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Logits (batch, labels). Heads of BERT's kind read the first position only."""
        with last_layer_at(model, lambda states: states[:, :1]):
            return logits_of(model, batch)

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[list[float]]:
        """Probabilities of the labels for each example."""
        return logits.float().softmax(-1).tolist()

    def for_metrics(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[list[int], list[int]]:
        """The ids of the most probable and of the true labels."""
        return np.argmax(predictions, axis=1).tolist(), encoded["labels"][:]

    def metric_arguments(self) -> dict[str, Any]:
        """The number of labels."""
        return {"num_labels": len(self._labels.names)}

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of always naming the most frequent label of the training split."""
        majority, _ = Counter(encoded["train"]["labels"][:]).most_common(1)[0]
        true = encoded["validation"]["labels"][:]
        scores = self.compute([majority] * len(true), true)
        return {f"majority_{name}": value for name, value in scores.items()}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Texts with true and predicted labels, and the confusion matrix."""
        true = [self._labels.names[i] for i in encoded["labels"][:]]
        predicted = [self._labels.names[i] for i in np.argmax(predictions, axis=1)]
        table = {
            **{name: split.column(name) for name in self.columns},
            "label": true,
            "predicted": predicted,
            "probability": [round(max(p), 4) for p in predictions],
        }
        return Report(
            tables={"predictions": table},
            figures={
                "confusion_matrix": partial(draw_confusion, true, predicted, self._labels.names)
            },
        )

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """The distribution of the labels, and the share of texts that are cut."""
        counts = Counter(self._labels.ids(split))
        shares = (f"{self._labels.names[i]} {counts[i] / len(split):.0%}" for i in sorted(counts))
        return {"labels": ", ".join(shares), **super().describe_split(split, tokenizer)}

    def shown(self, prediction: list[float], config: PretrainedConfig) -> Record:
        """The most probable label, with its probability; perhaps those of all labels, not rounded."""
        best = int(np.argmax(prediction))
        row = {"label": config.id2label[best], "probability": round(prediction[best], 4)}
        if self.shows_probabilities:
            row["probabilities"] = {config.id2label[i]: p for i, p in enumerate(prediction)}
        return row
