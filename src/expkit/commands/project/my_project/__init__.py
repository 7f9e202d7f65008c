"""A task and a metric of this project."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from expkit.metrics.classification import LabelMetric
from expkit.metrics.statistics import Statistics, mean
from expkit.tasks.text_classification import TextClassification


class Focal(TextClassification):
    """Learns most from what it gets wrong: the focal loss of https://arxiv.org/abs/1708.02002, with gamma 2."""

    def loss(self, model: torch.nn.Module, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.logits(model, batch)
        losses = cross_entropy(logits.float(), batch["labels"], reduction="none")
        return ((1 - torch.exp(-losses)) ** 2 * losses).sum(), logits


class Cost(LabelMetric):
    """What an example costs: 1 for a false alarm, `missed` for a complaint, which is label 1, that is not found."""

    direction = "minimize"

    def __init__(self, missed: float) -> None:
        super().__init__()
        self._missed = missed

    def statistics(self, predictions: Sequence[int], references: Sequence[int]) -> Statistics:
        costs = np.where(np.equal(references, 1), self._missed, 1.0)
        return mean("cost", costs * np.not_equal(predictions, references))
