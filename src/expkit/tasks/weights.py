"""Training that counts rare labels more, and targets that are smoothed."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig

from expkit.config.constraints import above, at_least
from expkit.data.steps import Batch
from expkit.tasks.interface import IGNORED, Task
from expkit.terminal.errors import DataError, UserError, nearest

if TYPE_CHECKING:
    import evaluate

ClassWeights = Literal["balanced"] | Mapping[str, Annotated[float, above(0)]] | None
Smoothing = Annotated[float, at_least(0, below=1)]


class CrossEntropyTask(Task):
    """A task whose targets each have one label; its `logits` (..., labels) become a loss by cross-entropy.

    Args:
        label_smoothing: the share of each target that training spreads evenly over all labels
            (https://arxiv.org/abs/1512.00567).
        class_weights: how much a target of a label counts in training; a label that is not named counts 1.
            "balanced": n / (k · n_c) if n_c of n targets with k different labels have it, as in scikit-learn.

    Raises:
        UserError: a weight is infinite, or training would not use the loss of a class of the user's own.
    """

    def __init__(
        self,
        columns: Sequence[str],
        max_length: int,
        metrics: "Mapping[str, evaluate.Metric]",
        label_smoothing: float,
        class_weights: ClassWeights = None,
    ) -> None:
        super().__init__(columns, max_length, metrics)
        self._smoothing = label_smoothing
        self._asked_weights = class_weights
        self._weights: torch.Tensor | None = None
        own, cls = type(self), CrossEntropyTask
        if own.loss is not cls.loss and own.training_loss is cls.training_loss and self._differs():
            raise UserError(
                f"task: {own.__name__}.loss is its own, and would be left out with task.class_weights or "
                "task.label_smoothing; let it have its own training_loss too, or leave them as they are"
            )

    def _differs(self) -> bool:
        return self._asked_weights is not None or self._smoothing > 0

    def adopt(self, config: PretrainedConfig) -> None:
        """Other data are scored, which say nothing of the weights in training."""
        self._asked_weights = None

    def weigh(
        self, names: Sequence[str], count: Callable[[], Mapping[str, int]], source: str
    ) -> None:
        """Find the weights of the labels `names` in `setup`; see `weights_of`."""
        self._weights = weights_of(self._asked_weights, names, count, source)

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """−Σ log softmax(logits)[label] over the targets, without weights and smoothing, and the logits."""
        logits = self.logits(model, batch)
        return cross_entropy(logits, batch["labels"]), logits

    def training_loss(
        self, model: torch.nn.Module, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same with weights and smoothing."""
        if not self._differs():
            return self.loss(model, batch)
        logits = self.logits(model, batch)
        return cross_entropy(logits, batch["labels"], self._weights, self._smoothing), logits

    def training_weight(self, batch: Batch) -> float:
        """The sum of the weights of the targets."""
        if self._weights is None:
            return self.count_targets(batch)
        labels = batch["labels"]
        return float(self._weights[labels[labels != IGNORED]].sum(dtype=torch.float64))


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """What torch's `cross_entropy` sums over all targets, of logits (..., labels) and labels (...)."""
    return F.cross_entropy(
        logits.float().flatten(0, -2),
        labels.flatten(),
        weight=None if weights is None else weights.to(logits.device),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=smoothing,
    )


def weights_of(
    asked: ClassWeights,
    names: Sequence[str],
    count: Callable[[], Mapping[str, int]],
    source: str,
    examples: int | None = None,
) -> torch.Tensor | None:
    """The weight of each label, float32 (labels,); None if they are not asked for.

    Args:
        count: how often each label occurs in the training split; asked for if weights are to be balanced.
        examples: how many examples there are, if each may have several labels. The weights are then those of
            an example that has a label, balanced against those that do not: n_neg / n_pos.

    Raises:
        UserError: a weight is infinite, or that of a label that there is not.
        DataError: a label has nothing to be balanced against.
    """
    if asked is None:
        return None
    if asked == "balanced":
        counts = count()
        n, k = sum(counts.values()), len(counts)
        for name, n_c in counts.items():
            if n_c in (0, examples):
                raise DataError(
                    f"{source}: task.class_weights=balanced: {'every' if n_c else 'no'} example has the label "
                    f"{name!r:.60}, so that it has no such weight; name weights, as in "
                    f"task.class_weights={{{next(iter(counts))}: 2}}, or take the label out"
                )
        asked = {
            name: n / (k * n_c) if examples is None else (examples - n_c) / n_c
            for name, n_c in counts.items()
        }
    for name, weight in asked.items():
        if name not in names:
            raise UserError(f"task.class_weights: {name!r:.60} is no label; {nearest(name, names)}")
        if not math.isfinite(weight):
            raise UserError(
                f"task.class_weights: {name!r:.60} has the weight {weight}, which is not finite"
            )
    return torch.tensor([float(asked.get(name, 1)) for name in names])
