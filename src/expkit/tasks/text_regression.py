"""A number for a text or for a pair of texts."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from expkit.answering.answers import number
from expkit.config.constraints import at_least
from expkit.data.splits import Record, Split, Splits
from expkit.data.steps import Batch, Collate, Example
from expkit.metrics.outcomes import Report
from expkit.models.fit import read_as_text
from expkit.models.head import Head, head_modules, inner_model
from expkit.models.last_layer import last_layer_at
from expkit.tasks.interface import Scores, Task, Tokenizer, logits_of, naming, require_one_or_two
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, UserError

if TYPE_CHECKING:
    import evaluate

# Of targets, as a share of their mean, and at all: the numbers of a model have seven digits, and end at 3e38.
LEAST_SPREAD, SPREADS = 1e-4, (1e-30, 1e30)


class TextRegression(Task):
    """Regression on targets that are standardised inside; predictions are in the targets' own units.

    The model learns (target - mean) / standard deviation, both of the training targets. Before it is saved, they
    go into its last layer, so that it gives targets wherever it is loaded; `gives_targets` in its config says so.

    Args:
        text_columns: one column, or two for pairs.
        label_column: numbers, or texts such as "4.5".
        loss: the squared error, the absolute one, or Huber's with delta 1 (torch's `huber_loss`).
        max_length: in tokens; of a pair, the longer text is cut first.
        metrics: `evaluate.Metric` objects on numbers.
    """

    short_name = "regression"  # in names of runs
    pipeline = "text-classification"
    serving = {}  # noqa: RUF012 - the config of the model says all

    def __init__(
        self,
        text_columns: Sequence[str],
        label_column: str,
        loss: Literal["mse", "l1", "huber"],
        max_length: Annotated[int, at_least(4)],
        metrics: "Mapping[str, evaluate.Metric]",
    ) -> None:
        require_one_or_two(text_columns)
        super().__init__(text_columns, max_length, metrics)
        self._label_column = label_column
        self._loss: Callable[..., torch.Tensor] = getattr(F, f"{loss}_loss")
        self._scaling: dict[str, float] = {}
        self._is_trained = False

    def setup(self, splits: Splits) -> None:
        """Check all targets, and find mean and standard deviation of those in the training split."""
        super().setup(splits)
        train, *_ = [s.numbers(self._label_column) for s in splits.named().values()]
        if self._is_trained:
            return
        mean, deviation = float(np.mean(train)), float(np.std(train))
        if not max(LEAST_SPREAD * abs(mean), SPREADS[0]) < deviation < SPREADS[1]:
            raise DataError(
                f"{splits.train.source}: {self._label_column} has the mean {mean:g} and the standard deviation "
                f"{deviation:.3g}: there is nothing to learn, or it is lost in rounding; expected numbers that "
                "differ, none of them above 1e30 (if these differ, subtract their mean from them)"
            )
        self._scaling = {"target_mean": mean, "target_scale": deviation}

    def adopt(self, config: PretrainedConfig) -> None:
        """Nothing but that there is a model, whose config says how targets were standardised in training."""
        self._is_trained = True

    def gold(self, split: Split) -> Iterator[tuple[tuple[()], float]]:
        """The target; there are no labels to count."""
        return (((), number) for number in self.labels(split))

    def head(self) -> Head:
        """Sequence classification with one output, which takes its name from the column."""
        config = {**naming([self._label_column]), "problem_type": "regression", **self._scaling}
        return Head("AutoModelForSequenceClassification", config, self._configure)

    def _configure(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        """Let a model that is to be trained give standardised targets. Raises a UserError if it cannot."""
        read_as_text(model, tokenizer)
        config, last = model.config, _last_layer(model)
        if self._is_trained:
            return
        if last.bias is None and config.target_mean:
            config.target_scale = math.hypot(config.target_scale, config.target_mean)
            config.target_mean = 0.0
            say(
                f"model: the last layer of {type(model).__name__} has no bias that could take the mean of "
                f"{self._label_column}; it learns {self._label_column} / {config.target_scale:.4g}"
            )
        if getattr(model, "head_goes_on", False):  # trained heads give targets in their own units
            _rescale(last, 1 / config.target_scale, -config.target_mean / config.target_scale)
        config.gives_targets = False

    def finish(self, model: PreTrainedModel) -> None:
        """Let the model give targets in their own units."""
        _rescale(_last_layer(model), model.config.target_scale, model.config.target_mean)
        model.config.gives_targets = True

    def labels(self, split: Split) -> list[float]:
        """The targets in their own units."""
        return split.numbers(self._label_column)

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """Pads the inputs; the labels of a batch are standardised, in double precision."""
        pad = super().collator(tokenizer, model)
        mean, scale = model.config.target_mean, model.config.target_scale

        def collate(examples: list[Example], seeds: Sequence[int]) -> Batch:
            return pad([{**e, "labels": (e["labels"] - mean) / scale} for e in examples], seeds)

        return collate

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss of standardised targets, and standardised predictions (batch, 1)."""
        logits = self.logits(model, batch)
        return self._loss(logits[:, 0].float(), batch["labels"], reduction="sum"), logits

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Standardised predictions (batch, 1), also of a model that gives targets in their own units."""
        with last_layer_at(model, lambda states: states[:, :1]):
            logits = logits_of(model, batch)
        inner = inner_model(model)
        if inner is None or not inner.config.gives_targets:
            return logits
        return ((logits.double() - inner.config.target_mean) / inner.config.target_scale).float()

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[float]:
        """Predicted targets in their own units."""
        made = logits[:, 0].double() * model.config.target_scale + model.config.target_mean
        return list(made.tolist())

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of always predicting the mean of the training targets, where they are defined."""
        true = encoded["validation"]["labels"][:]
        scores = self.compute([float(np.mean(encoded["train"]["labels"][:]))] * len(true), true)
        return {f"mean_{name}": value for name, value in scores.items() if not math.isnan(value)}

    def report(self, predictions: list[float], split: Split, encoded: Dataset) -> Report:
        """Texts with true and predicted numbers, and a picture of these."""
        draw = partial(_draw, encoded["labels"][:], predictions, self._label_column)
        return Report(super().report(predictions, split, encoded).tables, {"scatter": draw})

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """What the targets look like, and the share of texts that are cut."""
        true = self.labels(split)
        facts = (
            f"mean {np.mean(true):.4g}, sd {np.std(true):.4g}, {min(true):.4g} to {max(true):.4g}"
        )
        return {self._label_column: facts, **super().describe_split(split, tokenizer)}

    def shown(self, prediction: float, config: PretrainedConfig) -> Record:
        """The number, rounded."""
        return number([prediction], config)


def _last_layer(model: PreTrainedModel) -> nn.Linear:
    """The linear layer that gives the only output. Raises UserError if there is none."""
    heads = tuple(head_modules(model))
    for name, module in reversed(list(model.named_modules())):
        if isinstance(module, nn.Linear) and module.out_features == 1 and name.startswith(heads):
            return module
    raise UserError(
        f"model: the head of {type(model).__name__} does not end in a linear layer with one output, so its numbers "
        "cannot be given in the units of the targets; use another type of model"
    )


@torch.no_grad()
def _rescale(layer: nn.Linear, scale: float, shift: float) -> None:
    layer.weight.mul_(scale)
    if layer.bias is not None:
        layer.bias.mul_(scale).add_(shift)


def _draw(true: Sequence[float], predicted: Sequence[float], name: str, file: Path) -> None:
    """Predicted against true numbers, with the line on which both are equal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(xlabel=f"true {name}", ylabel="predicted")
    axes.scatter(true, predicted, s=12, alpha=0.5, linewidths=0)
    axes.axline((true[0], true[0]), slope=1, color="gray", linewidth=1)
    figure.savefig(file, dpi=120)
