"""Training that counts rare labels more, and targets that are smoothed."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig

from expkit.config.constraints import above, at_least
from expkit.data.steps import Batch
from expkit.tasks.interface import IGNORED, Task
from expkit.terminal.errors import DataError, UserError, nearest

if TYPE_CHECKING:
    import evaluate

ClassWeights = (
    Literal["balanced"] | Mapping[str, Annotated[float, above(0, below=1e999)]] | None
)  # finite
Smoothing = Annotated[float, at_least(0, below=1)]


class CrossEntropyTask(Task):
    """A task whose targets each have one label; its `logits` (..., labels) become a loss by cross-entropy.

    Args:
        label_smoothing: the share of each target that training spreads evenly over all labels
            (https://arxiv.org/abs/1512.00567).
        class_weights: how much a target of a label counts in training; a label that is not named counts 1.

    Raises:
        UserError: training would not use the `loss` of a class of the user's own.
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
        self._smoothing, self._asked_weights = label_smoothing, class_weights
        self._weights: torch.Tensor | None = None  # of all labels; `setup` finds them
        self._is_plain = class_weights is None and not label_smoothing
        own, cls = type(self), CrossEntropyTask
        trains_other = own.loss is not cls.loss and own.training_loss is cls.training_loss
        if trains_other and not self._is_plain:
            raise UserError(
                "task.class_weights, task.label_smoothing: training with them would leave out "
                f"{own.__name__}.loss; leave them as they are, or write {own.__name__}.training_loss too"
            )

    def adopt(self, config: PretrainedConfig) -> None:
        """Other data are scored, which say nothing of the weights in training."""
        self._asked_weights = None

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """−Σ log softmax(logits)[label] over the targets, without weights and smoothing, and the logits."""
        logits = self.logits(model, batch)
        return self.summed(logits, batch["labels"]), logits

    def training_loss(
        self, model: torch.nn.Module, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same with weights and smoothing, as torch's `cross_entropy` has them."""
        if self._is_plain:
            return self.loss(model, batch)
        logits = self.logits(model, batch)
        weights = None if self._weights is None else self._weights.to(logits.device)
        return self.summed(logits, batch["labels"], weights, self._smoothing), logits

    def summed(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor | None = None,
        smoothing: float = 0.0,
    ) -> torch.Tensor:
        """The loss summed over the targets, of logits (..., labels) and labels (...)."""
        settings: Any = {"ignore_index": IGNORED, "reduction": "sum", "label_smoothing": smoothing}
        flat = logits.float().flatten(0, -2)
        return F.cross_entropy(flat, labels.flatten(), weight=weights, **settings)

    def training_weight(self, batch: Batch) -> float:
        """The sum of the weights of the targets."""
        if self._weights is None:
            return self.count_targets(batch)
        labels = batch["labels"]
        return float(self._weights[labels[labels != IGNORED]].sum(dtype=torch.float64))


def weights_of(
    asked: ClassWeights,
    names: Sequence[str],
    count: Callable[[], Mapping[str, int]],
    source: str,
    examples: int | None = None,
) -> torch.Tensor | None:
    """The weight of each label, float32 (labels,); None if no weights are asked for.

    "balanced" is n / (k · n_c) for a label that n_c of n targets with k different labels have, as in
    scikit-learn's `compute_class_weight`. It is n_neg / n_pos where an example may have several labels.

    Args:
        count: how many targets of the training split each label has; it is called for "balanced" only.
        examples: how many examples there are, if each may have several labels.

    Raises:
        UserError: a label does not exist.
        DataError: a label has nothing to be balanced against.
    """
    if asked is None:
        return None
    if asked == "balanced":
        counts, asked = count(), {}
        n, k = sum(counts.values()), len(counts)
        for name, n_c in counts.items():
            if n_c in (0, examples):
                raise DataError(
                    f"{source}: task.class_weights=balanced: {'every' if n_c else 'no'} example has the label "
                    f"{name!r:.60}, which leaves nothing to balance; take it out of the labels, or give weights, "
                    f"such as 'task.class_weights={{{next(iter(counts))}: 2}}'"
                )
            asked[name] = n / (k * n_c) if examples is None else (examples - n_c) / n_c
    for name in (name for name in asked if name not in names):
        raise UserError(f"task.class_weights: {name!r:.60} is no label; {nearest(name, names)}")
    return torch.tensor([float(asked.get(name, 1)) for name in names])
