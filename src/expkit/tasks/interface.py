"""What a task is: from records to examples, from examples to a loss, from outputs to scores."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.answering.answers import ANSWERS, tokenized
from expkit.data.splits import Columns, Record, Split, Splits
from expkit.data.steps import Batch, Collate, Example
from expkit.metrics.local import LABELS, needs_of
from expkit.metrics.outcomes import Outcomes, Report, digest, taken_by
from expkit.models.head import Head
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    import evaluate

IGNORED = -100  # the label of a position that has no target, as in torch's cross_entropy

Scores = dict[str, float]
# Predictions and references as metrics take them, and the number of the example that each belongs to, or
# None if each is an example.
Seen = tuple[list[Any], list[Any] | None, list[int] | None]


class Task(ABC):
    """The base class of all tasks; docs/add-a-task.md builds one.

    A task has to say its `pipeline` and to have `head`, `labels`, `loss` and `predictions`. All other
    methods are right for a text, or a pair of texts, with one label or number; a task replaces those that
    are not right for it. A task knows no backend and no processes. All methods but `setup` leave it
    unchanged.

    Args:
        columns: what a record needs for `answer`.
        max_length: tokens in one model input, at most.
        metrics: `evaluate.Metric` objects by name.
    """

    short_name: str = ""  # in names of runs; empty: the name of the class
    pipeline: str = ""  # how the model is served: one of `expkit.tasks.serving.SERVED`
    # Further arguments of the function in answering/answers.py that serves the model; None: MLflow's pipeline does.
    serving: dict[str, Any] | None = None
    # Whether `answer` may have more or fewer rows than one for a record.
    has_several_rows: bool = False
    # Whether `shown` has `probabilities`, of each label by its name; None: the task has none. `predict
    # --probabilities` sets it.
    shows_probabilities: bool | None = None

    def __init__(
        self,
        columns: Sequence[str],
        max_length: int,
        metrics: "Mapping[str, evaluate.Metric] | None" = None,
    ) -> None:
        self.columns = list(columns)
        self.max_length = max_length
        self.metrics = metrics or {}

    def setup(self, splits: Splits) -> None:
        """Look at the data once: check the columns, find the labels. Raises DataError."""
        for split in splits.named().values():
            split.require_texts(self.columns)

    def strata(self, split: Split) -> Sequence[Any] | None:
        """The label of each record, or a list of its labels, whose shares all splits of a file keep; None if there is none.

        It is asked before `setup`, so the column may hold anything.
        """
        return None

    def adopt(self, config: PretrainedConfig) -> None:  # noqa: B027 - most tasks find nothing
        """Take from the config of an exported model what `setup` would find in the training data.

        It is called before `setup` when other data are scored and the training data may be gone.
        """

    def gold(self, split: Split) -> Iterable[tuple[Sequence[str], Any]] | None:
        """The labels to count in each record, and its whole right answer, as JSON can hold it.

        It is asked after `setup`. None stands for running text, in which repetitions are normal.
        """
        strata = self.strata(split)
        if strata is None:
            return (((), None) for _ in range(len(split)))
        return (([str(label)], label) for label in strata)

    @abstractmethod
    def head(self) -> Head:
        """The model to build."""

    def texts(self, split: Split) -> Iterator[str]:
        """All texts of a split, to train a tokenizer on."""
        for column in self.columns:
            yield from split.values(column)

    def labels(self, split: Split) -> Iterable[Any]:
        """The label of each record, as a number or as a list of numbers. Only `encode` asks for them."""
        raise NotImplementedError(f"{type(self).__name__} has to have `labels` or its own `encode`")

    def encode(
        self, split: Split, tokenizer: Tokenizer, config: PretrainedConfig
    ) -> Iterator[Columns]:
        """Model inputs with `labels` and a column `length` in tokens; not always one example a record.

        The inputs come in chunks that are written to the cache at once, so that memory does not grow
        with the data.
        """
        labels = iter(self.labels(split))
        places = map(split.where, range(len(split)))
        for chunk in split.chunks(self.columns):
            inputs = tokenized([chunk[name] for name in self.columns], tokenizer, config, places)
            lengths = [len(ids) for ids in inputs["input_ids"]]
            numbers = list(islice(labels, len(lengths)))
            if len(numbers) < len(lengths) or any(isinstance(label, str) for label in numbers):
                raise UserError(
                    f"task: {type(self).__name__}.labels: expected a number for each of the {len(split)} "
                    f"records, got {len(numbers)} for {len(lengths)} of them, such as {numbers[:3]}"
                )
            yield {**inputs, "labels": numbers, "length": lengths}

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """A function from examples to a batch: the inputs padded to the longest of them, and `labels`."""
        names = (*tokenizer.model_input_names, "labels")

        def collate(examples: list[Example], seeds: Sequence[int]) -> Batch:
            rows = [{k: e[k] for k in names if k in e} for e in examples]
            return dict(tokenizer.pad(rows, return_tensors="pt"))

        return collate

    @abstractmethod
    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss summed over the targets of a batch, and the logits."""

    def count_targets(self, batch: Batch) -> int:
        """How many targets a batch holds; the loss of a step is the mean over all of its targets.

        As in torch, whole numbers are classes, and the class IGNORED marks a position without a target.
        Fractions are values, and each of them is a target.
        """
        labels = batch["labels"]
        return labels.numel() if labels.is_floating_point() else int((labels != IGNORED).sum())

    def training_loss(
        self, model: torch.nn.Module, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss to train with, if it is another one than `loss`, which evaluations report."""
        return self.loss(model, batch)

    def training_weight(self, batch: Batch) -> float:
        """What a batch adds to the number that the training losses of a whole step are divided by."""
        return self.count_targets(batch)

    @abstractmethod
    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[Any]:
        """One prediction for each example of a batch."""

    def for_metrics(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[list[Any], list[Any]]:
        """Predictions and references of a whole split, as the metrics take them."""
        return predictions, encoded["labels"][:]

    def metric_arguments(self) -> dict[str, Any]:
        """Further arguments for the metrics that take them, such as `num_labels`."""
        return {}

    def seen_by(self, needs: str, predictions: list[Any], split: Split, encoded: Dataset) -> Seen:
        """What the metrics see that need `needs`, which is one of those of metrics/local.py.

        Raises:
            UserError: the task cannot say it.
        """
        if needs != LABELS:
            names = ", ".join(self.metrics_that_need(needs))
            raise UserError(
                f"task.metrics: {names}: needs {needs}, which {type(self).__name__} does not have"
            )
        return *self.for_metrics(predictions, split, encoded), None

    def metrics_that_need(self, needs: str) -> list[str]:
        """The names of the metrics that need the same."""
        return [name for name, metric in self.metrics.items() if needs_of(metric) == needs]

    def all_needs(self) -> list[str]:
        """What the metrics of the task need to see."""
        return list(dict.fromkeys(map(needs_of, self.metrics.values())))

    def require_fitting_metrics(self, encoded: Dataset) -> None:
        """Let metrics that do not fit every kind of label try those of the training split. Raises UserError."""
        for name, metric in getattr(self.metrics, "made", self.metrics).items():
            if hasattr(metric, "require_fit"):
                if "labels" not in encoded.column_names:
                    raise UserError(
                        f"task.metrics.{name}: scores labels or numbers, and {type(self).__name__} has neither"
                    )
                further = taken_by(metric.require_fit, self.metric_arguments())
                metric.require_fit(encoded["labels"][:], **further)

    def compute(
        self, predictions: Sequence[Any], references: Sequence[Any] | None, needs: str = LABELS
    ) -> Scores:
        """What all metrics that need the same make of the same predictions and references."""
        scores: Scores = {}
        given = {"predictions": predictions, "references": references}
        for name in self.metrics_that_need(needs):
            metric = self.metrics[name]
            further = taken_by(metric._compute, self.metric_arguments())
            scores |= metric.compute(**given, **further)
        return scores

    def score(self, loss: float, predictions: list[Any], split: Split, encoded: Dataset) -> Scores:
        """The metrics of a whole split, by name; `loss` is the mean over its targets."""
        scores: Scores = {}
        for needs in self.all_needs():
            predicted, references, _ = self.seen_by(needs, predictions, split, encoded)
            scores |= self.compute(predicted, references, needs)
        return scores

    def asked(self, split: Split) -> Iterable[Any]:
        """What the model is asked in each example, so that runs are compared on the same examples."""
        split.require(self.columns)
        return zip(*map(split.values, self.columns), strict=True)

    def outcomes(self, predictions: list[Any], split: Split, encoded: Dataset) -> list[Outcomes]:
        """What the metrics see, for the comparison of runs example by example; nothing without metrics."""
        if not self.metrics:
            return []
        inputs, further = digest(self.asked(split)), self.metric_arguments()
        return [
            Outcomes(
                inputs,
                self.metrics_that_need(needs),
                *self.seen_by(needs, predictions, split, encoded),
                settings=further,
            )
            for needs in self.all_needs()
        ]

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """Scores on the validation split of something that did not learn, as `<what>_<metric>`."""
        return {}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Predictions as a table, and pictures of them."""
        predicted, labels = self.for_metrics(predictions, split, encoded)
        columns = {name: split.column(name) for name in self.columns}
        return Report({"predictions": {**columns, "label": labels, "predicted": predicted}})

    def describe(self, splits: Splits, tokenizer: Tokenizer) -> dict[str, str]:
        """What the data look like to this task."""
        return {
            f"{name}: {fact}": value
            for name, split in splits.named().items()
            for fact, value in self.describe_split(split, tokenizer).items()
        }

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """What one split looks like: the share of texts that are cut."""
        ids = tokenizer(*map(split.column, self.columns), verbose=False)["input_ids"]
        cut = sum(len(of_example) > self.max_length for of_example in ids)
        return {f"cut to {self.max_length} tokens": f"{cut / len(split):.1%}"}

    def inputs(self, split: Split) -> list[Record]:
        """The records that `answer` takes, out of a file without labels. Raises DataError."""
        split.require_texts(self.columns)
        columns = split.rows.select_columns(self.columns)[:]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def answer(
        self, model: PreTrainedModel, tokenizer: Tokenizer, records: Sequence[Record]
    ) -> list[list[Record]]:
        """Rows of a table for each record without labels: a label, entities, words, a translation."""
        if self.serving:
            asked = [record[self.columns[0]] for record in records]
            with torch.inference_mode():
                return ANSWERS[self.pipeline](model, tokenizer, asked, **self.serving)
        texts = [[record[name] for record in records] for name in self.columns]
        places = (f"{record!r:.60}" for record in records)
        inputs = tokenized(texts, tokenizer, model.config, places)
        batch = tokenizer.pad(inputs, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            made = self.predictions(model, tokenizer, batch, self.logits(model, batch))
        return [[self.shown(prediction, model.config)] for prediction in made]

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The logits from which `answer` makes predictions."""
        return logits_of(model, batch)

    def shown(self, prediction: Any, config: PretrainedConfig) -> Record:
        """A prediction as the row of a table."""
        return {"prediction": prediction}

    def finish(self, model: PreTrainedModel) -> None:  # noqa: B027 - most models are right as they are
        """Change a trained model, before it is saved, so that it gives what the pipeline shall give.

        The logits of `loss` stay the same.
        """

    def settle(self, predictions: list[Any], split: Split, encoded: Dataset) -> dict[str, Any]:
        """Choose on the predictions of the validation split how to read those of the exported model.

        What is returned goes into the config of that model. Anything else is scored after this.
        """
        return {}

    def remarks(self) -> list[str]:
        """Sentences that a reader of the scores of the exported model has to know."""
        return []

    def input_example(self, split: Split) -> Any:
        """One input as the pipeline takes it: a text, or a pair as the keys `text` and `text_pair`."""
        texts = [split.rows[0][name] for name in self.columns]
        return texts[0] if len(texts) == 1 else {"text": texts[0], "text_pair": texts[1]}


def require_one_or_two(text_columns: Sequence[str]) -> None:
    """Raise a UserError unless there is one text in a record, or a pair."""
    if len(text_columns) not in (1, 2):
        raise UserError(
            f"task.text_columns={list(text_columns)}: expected one column, or two for pairs"
        )


def naming(labels: Sequence[str]) -> dict[str, Any]:
    """The settings of a model's config that name its labels, in the order of their ids."""
    label2id = {name: i for i, name in enumerate(labels)}
    return {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": label2id}


def logits_of(model: torch.nn.Module, batch: Batch, **settings: Any) -> torch.Tensor:
    """What the model makes of a batch without its labels."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    logits: torch.Tensor = model(**inputs, **settings).logits
    return logits
