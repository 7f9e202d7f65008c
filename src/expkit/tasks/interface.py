"""What every task offers to the rest of expkit; a class of your own needs no base class."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from expkit.data.splits import Columns, Record, Split, Splits
from expkit.data.steps import NO_TARGET, Batch, Collate

if TYPE_CHECKING:
    import evaluate

IGNORED = NO_TARGET  # label of a position that has no target

Scores = dict[str, float]
Tokenizer: TypeAlias = PreTrainedTokenizerBase


@dataclass(frozen=True)
class Head:
    """The model class that a task needs, by its name in transformers, and what goes into its config.

    `configure` gets the model as it was built, and its tokenizer, for settings that depend on them
    or that they lack; it raises a UserError for a model that the task cannot work with. It is called
    before any text is encoded, and again for each copy of the model.
    """

    auto_class: str
    config: dict[str, Any] = field(default_factory=dict)
    configure: Callable[[PreTrainedModel, Tokenizer], None] | None = None


@dataclass(frozen=True)
class Report:
    """What is worth looking at after an evaluation: tables by column, pictures, and facts.

    A figure is a function that writes a picture to a file; it is called when the model is safe, and left
    out if it fails. Facts become tags of the run.
    """

    tables: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    figures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


class Task(Protocol):
    """From records to examples, from examples to a loss, from outputs to scores.

    A task knows no backend. All methods but `setup` leave it unchanged.

    Where `columns` may hold something else than texts, a task also has `inputs(split)`: the records
    that `answer` takes, out of a file without labels; it raises a DataError for those it does not.

    A task whose runs `expkit.compare` can hold against each other example by example also has
    `outcomes(predictions, split, encoded)`: a list of `expkit.metrics.outcomes.Outcomes`.
    """

    pipeline: str  # the name of the transformers pipeline that serves the model
    columns: Sequence[str]  # what a record needs for `answer`
    max_length: int  # tokens in one model input, at most

    def setup(self, splits: Splits) -> None:
        """Look at the data once: check the columns, find the labels. Raises DataError."""

    def head(self) -> Head:
        """The model to build."""

    def texts(self, split: Split) -> Iterator[str]:
        """All texts of a split, to train a tokenizer on."""

    def encode(
        self, split: Split, tokenizer: Tokenizer, config: PretrainedConfig
    ) -> Iterator[Columns]:
        """Model inputs with a column `length` in tokens, in chunks; not always one example a record.

        The chunks are written to the cache as they come, so that memory does not grow with the data.
        """

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """A function from examples to a padded batch that holds `labels`."""

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss summed over the items of a batch, and the logits."""

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[Any]:
        """One prediction for each example of a batch."""

    def score(self, loss: float, predictions: list[Any], split: Split, encoded: Dataset) -> Scores:
        """The metrics of a whole split, by name; `loss` is the mean over its items."""

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """Scores on the validation split of something that did not learn, as `<what>_<metric>`."""

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Predictions as a table, and pictures of them."""

    def describe(self, splits: Splits, tokenizer: Tokenizer) -> dict[str, str]:
        """What the data look like to this task: distribution of labels, share of cut texts."""

    def answer(
        self, model: PreTrainedModel, tokenizer: Tokenizer, records: Sequence[Record]
    ) -> list[list[Record]]:
        """Rows of a table for each record without labels: a label, entities, words, a translation."""

    def input_example(self, split: Split) -> Any:
        """One input, as the pipeline takes it."""


def naming(labels: Sequence[str]) -> dict[str, Any]:
    """The settings of a model's config that name its labels, in the order of their ids."""
    label2id = {name: i for i, name in enumerate(labels)}
    return {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": label2id}


def scored(
    metrics: "Mapping[str, evaluate.Metric]", predictions: Sequence[Any], references: Sequence[Any]
) -> Scores:
    """What all metrics make of the same predictions and references."""
    scores: Scores = {}
    for metric in metrics.values():
        scores |= metric.compute(predictions=predictions, references=references)
    return scores


def items(batch: Batch) -> int:
    """How many targets a batch holds; the loss of a step is the mean over all of its items."""
    return int((batch["labels"] != IGNORED).sum())
