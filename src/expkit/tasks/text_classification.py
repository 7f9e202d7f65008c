"""One label for a text or for a pair of texts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel

from expkit.config.constraints import at_least
from expkit.data.splits import Columns, Record, Split, Splits
from expkit.data.steps import Batch, Collate, Example
from expkit.metrics.outcomes import Outcomes, digest
from expkit.models.fit import read_as_text
from expkit.models.last_layer import last_layer_at
from expkit.tasks.confusion import draw_confusion
from expkit.tasks.interface import Head, Report, Scores, Tokenizer, naming, scored
from expkit.tasks.labels import LabelColumn
from expkit.terminal.errors import DataError, UserError

if TYPE_CHECKING:
    import evaluate


class TextClassification:
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
        self.columns = list(text_columns)
        self._label_column = label_column
        self._label_data = LabelColumn(label_column, labels or ())
        self._labels = self._label_data.names
        self.max_length = max_length
        self._metrics = metrics

    def setup(self, splits: Splits) -> None:
        """Find the labels in the training split and check the other splits against them."""
        for split in splits.named().values():
            split.require([*self.columns, self._label_column])
            split.require_texts(self.columns)
        self._label_data.setup(splits)
        self._labels = self._label_data.names

    def head(self) -> Head:
        """Sequence classification with the names of the labels in the model's config."""
        return Head(
            "AutoModelForSequenceClassification",
            {**naming(self._labels), "problem_type": "single_label_classification"},
            configure=read_as_text,
        )

    def texts(self, split: Split) -> Iterator[str]:
        """All texts of the text columns."""
        for column in self.columns:
            yield from split.values(column)

    def encode(
        self, split: Split, tokenizer: Tokenizer, config: PretrainedConfig
    ) -> Iterator[Columns]:
        """Token ids, cut to `max_length`, and label ids."""
        labels = iter(self._label_data.ids(split))
        places = map(split.where, range(len(split)))
        for chunk in split.chunks(self.columns):
            texts = [chunk[name] for name in self.columns]
            inputs = _encoded(texts, tokenizer, config, places)
            lengths = [len(ids) for ids in inputs["input_ids"]]
            yield {**inputs, "labels": list(islice(labels, len(lengths))), "length": lengths}

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """Pad to the longest of the batch."""
        names = (*tokenizer.model_input_names, "labels")

        def collate(examples: list[Example], seeds: Sequence[int]) -> Batch:
            rows = [{k: e[k] for k in names if k in e} for e in examples]
            return dict(tokenizer.pad(rows, return_tensors="pt"))

        return collate

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """−Σ log softmax(logits)[label], and logits (batch, labels)."""
        # Heads of BERT's kind read the first position only.
        with last_layer_at(model, lambda states: states[:, :1]):
            logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits
        return F.cross_entropy(logits.float(), batch["labels"], reduction="sum"), logits

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[list[float]]:
        """Probabilities of the labels for each example."""
        return logits.float().softmax(-1).tolist()

    def score(self, loss: float, predictions: list[Any], split: Split, encoded: Dataset) -> Scores:
        """All metrics of the config on the most probable labels."""
        predicted = np.argmax(predictions, axis=1).tolist()
        return self._score(predicted, encoded["labels"][:])

    def _score(self, predicted: Sequence[int], true: Sequence[int]) -> Scores:
        for metric in self._metrics.values():  # not before: making them takes half a second
            if hasattr(metric, "num_labels"):
                metric.num_labels = len(self._labels)
        return scored(self._metrics, predicted, true)

    def outcomes(self, predictions: list[Any], split: Split, encoded: Dataset) -> list[Outcomes]:
        """Predicted and true label ids."""
        inputs = digest(zip(*map(split.column, self.columns), strict=True))
        predicted, true = np.argmax(predictions, axis=1).tolist(), encoded["labels"][:]
        settings = {"num_labels": len(self._labels)}
        return [Outcomes(inputs, list(self._metrics), predicted, true, settings=settings)]

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of always naming the most frequent label of the training split."""
        majority, _ = Counter(encoded["train"]["labels"][:]).most_common(1)[0]
        true = encoded["validation"]["labels"][:]
        scores = self._score([majority] * len(true), true)
        return {f"majority_{name}": value for name, value in scores.items()}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Texts with true and predicted labels, and the confusion matrix."""
        true = [self._labels[i] for i in encoded["labels"][:]]
        predicted = [self._labels[i] for i in np.argmax(predictions, axis=1)]
        table = {
            **{name: split.column(name) for name in self.columns},
            "label": true,
            "predicted": predicted,
            "probability": [round(max(p), 4) for p in predictions],
        }
        return Report(
            tables={"predictions": table},
            figures={"confusion_matrix": partial(draw_confusion, true, predicted, self._labels)},
        )

    def describe(self, splits: Splits, tokenizer: Tokenizer) -> dict[str, str]:
        """Labels and cut texts of each split."""
        facts = {}
        for name, split in splits.named().items():
            counts = Counter(self._label_data.ids(split))
            shares = (f"{self._labels[i]} {counts[i] / len(split):.0%}" for i in sorted(counts))
            facts[f"{name}: labels"] = ", ".join(shares)
            columns = list(map(split.column, self.columns))
            cut = sum(len(ids) > self.max_length for ids in tokenizer(*columns)["input_ids"])
            facts[f"{name}: cut to {self.max_length} tokens"] = f"{cut / len(split):.1%}"
        return facts

    def answer(
        self, model: PreTrainedModel, tokenizer: Tokenizer, records: Sequence[Record]
    ) -> list[list[Record]]:
        """The most probable label of each record, with its probability."""
        columns = [[record[name] for record in records] for name in self.columns]
        places = (f"{record!r:.60}" for record in records)
        inputs = _encoded(columns, tokenizer, model.config, places)
        inputs = tokenizer.pad(inputs, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            probabilities = model(**inputs).logits.float().softmax(-1)
        best = probabilities.max(-1)
        return [
            [{"label": model.config.id2label[int(i)], "probability": round(float(p), 4)}]
            for p, i in zip(best.values, best.indices, strict=True)
        ]

    def input_example(self, split: Split) -> Any:
        """A text, or a pair as the keys `text` and `text_pair`."""
        first = split.rows[0]
        texts = [first[name] for name in self.columns]
        return texts[0] if len(texts) == 1 else {"text": texts[0], "text_pair": texts[1]}


def _encoded(
    texts: list[list[str]], tokenizer: Tokenizer, config: PretrainedConfig, places: Iterable[str]
) -> Any:
    """Model inputs without padding; a text without a token gets the one that begins or ends texts.

    Raises:
        DataError: there is no such token, or a text holds the token that ends texts.
    """
    inputs = tokenizer(*texts, truncation=True)
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    end = config.eos_token_id if config.is_encoder_decoder else None
    ends = tokenizer(*("a" for _ in texts))["input_ids"].count(end)
    for row, (ids, place) in enumerate(zip(inputs["input_ids"], places)):  # noqa: B905
        if not ids and begin is None:
            raise DataError(
                f"{place}: holds nothing that {type(tokenizer).__name__} has a token for"
            )
        if not ids:
            for name, column in inputs.items():
                column[row] = [{"input_ids": begin, "attention_mask": 1}.get(name, 0)]
        elif end is not None and ids.count(end) != ends:
            token = tokenizer.convert_ids_to_tokens(end)
            raise DataError(
                f"{place}: holds {token!r}, which ends a text for the model; take it out"
            )
    return inputs
