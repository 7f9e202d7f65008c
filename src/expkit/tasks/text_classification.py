"""One label for a text or for a pair of texts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel

from expkit.answering.answers import KEY, labelled
from expkit.config.constraints import above, at_least
from expkit.data.labels import LabelColumn, label_of
from expkit.data.splits import Record, Split, Splits
from expkit.data.steps import Batch
from expkit.metrics.local import CONFIDENCES, LABELS
from expkit.metrics.outcomes import Report
from expkit.models.fit import read_as_text
from expkit.models.head import Head
from expkit.models.last_layer import last_layer_at
from expkit.tasks.confusion import draw_confusion
from expkit.tasks.decisions import TUNE, Decisions, choose_for, choose_for_several
from expkit.tasks.interface import Scores, Seen, Tokenizer, logits_of, naming, require_one_or_two
from expkit.tasks.reliability import reliability
from expkit.tasks.weights import ClassWeights, CrossEntropyTask, Smoothing, weights_of
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    import evaluate


class TextClassification(CrossEntropyTask):
    """Sequence classification with cross-entropy.

    Args:
        text_columns: one column, or two for pairs.
        label_column: names, or the ids 0, 1, ... of names that are given.
        labels: the names in the order of their ids; None: those that the training data give to
            their ids, or else its values, sorted.
        max_length: in tokens; of a pair, the longer text is cut first.
        metrics: `evaluate.Metric` objects on label ids.
        class_weights, label_smoothing: see `CrossEntropyTask`.
        threshold: the least probability of the second of two labels, or "tune": the one with the best score
            on validation.
        tune_for: the objective, or the name of another score to choose the threshold for.
        calibrate: "temperature": divide the logits by the one with the greatest likelihood on validation.
    """

    short_name = "classification"  # in names of runs
    pipeline = "text-classification"
    serving = {}  # noqa: RUF012 - nothing that the model's config does not say
    problem_type = "single_label_classification"
    shows_probabilities: bool = False
    has_several = False  # labels of one example

    def __init__(
        self,
        text_columns: Sequence[str],
        label_column: str,
        labels: Sequence[str] | None,
        max_length: Annotated[int, at_least(4)],
        metrics: "Mapping[str, evaluate.Metric]",
        class_weights: ClassWeights = None,
        label_smoothing: Smoothing = 0.0,
        threshold: Annotated[float, above(0, below=1)] | Literal["tune"] = 0.5,
        tune_for: str = "",
        calibrate: Literal["temperature"] | None = None,
    ) -> None:
        require_one_or_two(text_columns)
        super().__init__(text_columns, max_length, metrics, label_smoothing, class_weights)
        self._label_column = label_column
        self._labels = LabelColumn(label_column, labels or ())
        self._threshold = threshold
        self._tune_for = tune_for.rpartition("/")[2]
        self._decisions = Decisions(threshold, calibrate is not None, self.has_several)

    def setup(self, splits: Splits) -> None:
        """Find the labels in the training split and check the other splits against them."""
        for split in splits.named().values():
            split.require([*self.columns, *self._labels.columns])
        super().setup(splits)
        self._labels.setup(splits)
        names, train = self._labels.names, splits.train
        if self._threshold != 0.5 and len(names) != 2 and not self.has_several:
            raise UserError(
                f"task.threshold={self._threshold}: is for two labels, but there are {len(names)}; set "
                "task.threshold=0.5, which takes the most probable one"
            )
        if self._threshold == TUNE:
            on_labels = {name: self.metrics[name] for name in self.metrics_that_need(LABELS)}
            choose = choose_for_several if self.has_several else choose_for
            self._decisions.choose = choose(self._tune_for, on_labels, self.metric_arguments())
        examples = len(train) if self.has_several else None
        count = partial(self._counts, train)
        self._weights = weights_of(self._asked_weights, names, count, train.source, examples)

    def adopt(self, config: PretrainedConfig) -> None:
        """The names of the labels, and what was chosen to read the logits by."""
        super().adopt(config)
        self._labels.adopt([config.id2label[i] for i in range(config.num_labels)])
        self._decisions.adopt(config)

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
            configure=_configure,
        )

    def labels(self, split: Split) -> Iterable[Any]:
        """The ids of the labels."""
        return self._labels.ids(split)

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Logits (batch, labels). Heads of BERT's kind read the first position only."""
        with last_layer_at(model, lambda states: states[:, :1]):
            return logits_of(model, batch)

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[list[float]]:
        """The logits of the labels for each example."""
        return logits.float().tolist()

    def _read(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (examples, labels) and predicted labels, as those of `_true`."""
        return self._decisions.read(predictions, self._true(encoded), self.asked(split))

    def _true(self, encoded: Dataset) -> np.ndarray:
        """The ids of the true labels (examples,); or 0 and 1 (examples, labels) if there are several."""
        return np.asarray(encoded["labels"][:], dtype=int)

    def for_metrics(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[list[Any], list[Any]]:
        """The predicted and the true labels."""
        return self._read(predictions, split, encoded)[1].tolist(), self._true(encoded).tolist()

    def seen_by(self, needs: str, predictions: list[Any], split: Split, encoded: Dataset) -> Seen:
        """Labels, the most probable label with its probability, or the probabilities of all labels."""
        if needs == LABELS:
            return super().seen_by(needs, predictions, split, encoded)
        made, _ = self._read(predictions, split, encoded)
        if needs == CONFIDENCES:
            made = np.stack([made.argmax(1), made.max(1)], axis=1)
        return made.tolist(), self._true(encoded).tolist(), None

    def settle(self, predictions: list[Any], split: Split, encoded: Dataset) -> dict[str, Any]:
        """The threshold between two labels, and the temperature."""
        return self._decisions.settle(predictions, self._true(encoded), self.asked(split))

    def remarks(self) -> list[str]:
        """What was chosen on the validation data."""
        return self._decisions.remarks()

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
        """Texts with true and predicted labels, the confusion matrix, and how reliable probabilities are."""
        names, (probabilities, ids) = self._labels.names, self._read(predictions, split, encoded)
        true, predicted = ([names[i] for i in of] for of in (self._true(encoded), ids))
        table = {
            **{name: split.column(name) for name in self.columns},
            "label": true,
            "predicted": predicted,
            "probability": probabilities[range(len(ids)), ids].round(4).tolist(),
        }
        draw = partial(draw_confusion, true, predicted, names)
        confidences = self.seen_by(CONFIDENCES, predictions, split, encoded)
        figures: dict[str, Any] = {"confusion_matrix": draw, **reliability(confidences)}
        return Report({"predictions": table}, figures)

    def _counts(self, split: Split) -> dict[str, int]:
        """How often each label occurs, in the order of their ids."""
        counts = Counter(self._labels.ids(split))
        return {name: counts[i] for i, name in enumerate(self._labels.names)}

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """The distribution of the labels, and the share of texts that are cut."""
        counts = self._counts(split)
        shares = (f"{name} {n / len(split):.0%}" for name, n in counts.items() if n)
        return {"labels": ", ".join(shares), **super().describe_split(split, tokenizer)}

    def shown(self, prediction: list[float], config: PretrainedConfig) -> Record:
        """The label with its probability, or all labels; perhaps the probabilities of all labels."""
        return labelled(prediction, config, self.shows_probabilities)


def _configure(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """The model reads texts, and knows nothing of what was chosen for another model it may come from."""
    vars(model.config).pop(KEY, None)
    read_as_text(model, tokenizer)
