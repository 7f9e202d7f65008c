"""Score a model on a split. Both backends evaluate through here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expkit.data.splits import Split
from expkit.data.steps import Batch, Collate, mix
from expkit.precision import autocast
from expkit.processes import gathered
from expkit.ranks import count, rank
from expkit.sharding import whole
from expkit.tasks.interface import Task, items

EVALUATION_SEED = 0  # the same for all runs, so that their scores can be compared


@dataclass(frozen=True)
class EvalSet:
    """A split, ready to be scored."""

    split: Split
    encoded: Dataset
    tokenizer: PreTrainedTokenizerBase
    collate: Collate
    batch_size: int

    def batches(self) -> list[list[int]]:
        """Batches of similar length: the positions of their examples in the split."""
        order = np.argsort(self.encoded["length"][:], kind="stable").tolist()
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def batch(self, positions: list[int]) -> Batch:
        """A batch of some examples; what is drawn at random for them is always the same."""
        examples = self.encoded.__getitems__(positions)
        return self.collate(examples, [mix(EVALUATION_SEED, i) for i in positions])


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, `loss` among them, and one prediction for each example, in order."""

    metrics: dict[str, float]
    predictions: list[Any]


@contextmanager
def inference(model: torch.nn.Module, precision: str = "fp32") -> Iterator[None]:
    """Without gradients and without dropout; the model is put back into the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(model, precision):
            yield
    finally:
        model.train(was_training)


def evaluate(
    model: PreTrainedModel, task: Task, data: EvalSet, precision: str = "fp32"
) -> Evaluation:
    """The metrics of `task` on all of `data`, multiplied in `precision`.

    The loss is the sum over all items divided by their number, so it does not depend on the size of
    the batches. Several processes compute some of the batches each, and all get the same result.
    """
    device = next(model.parameters()).device
    batches = data.batches()
    own = []
    with whole(model), inference(model, precision):
        for number in range(rank(), len(batches), count()):
            batch = data.batch(batches[number])
            batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            loss, logits = task.loss(model, batch)
            made = task.predictions(model, data.tokenizer, batch, logits)
            own.append((number, loss.item(), items(batch), made))
    predictions: list[Any] = [None] * len(data.encoded)
    total, targets = 0.0, 0
    for number, of_batch, items_of_batch, made in sorted(gathered(own), key=itemgetter(0)):
        total += of_batch
        targets += items_of_batch
        for i, prediction in zip(batches[number], made, strict=True):
            predictions[i] = prediction
    mean = total / max(targets, 1)
    scores = task.score(mean, predictions, data.split, data.encoded)
    return Evaluation({"loss": mean, **scores}, predictions)
