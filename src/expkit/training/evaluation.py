"""Scores a model on a split, in the same way for all backends."""

import math
from collections.abc import Collection, Iterator
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
from expkit.models.head import inner_model
from expkit.processes.group import gathered
from expkit.processes.ranks import count, rank
from expkit.tasks.interface import Task
from expkit.terminal.display import say
from expkit.terminal.errors import UserError
from expkit.training.precision import autocast
from expkit.training.sharding import unsharded

EVALUATION_SEED = 0  # the same in all runs, so that their scores can be compared
LARGEST_INFLUENCE = 1e-4  # largest allowed effect of padding on fp32 logits, relative to their sum


@dataclass(frozen=True)
class EvalSet:
    """A split, ready to be scored."""

    split: Split
    encoded: Dataset
    tokenizer: PreTrainedTokenizerBase
    collate: Collate
    batch_size: int

    def batches(self) -> list[list[int]]:
        """Batches of examples of similar length, as positions in the split."""
        order = np.argsort(self.encoded["length"][:], kind="stable").tolist()
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def batch(self, positions: list[int]) -> Batch:
        """A batch of these examples. Random choices for an example, such as masks, never change."""
        examples = self.encoded.__getitems__(positions)
        return self.collate(examples, [mix(EVALUATION_SEED, i) for i in positions])


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, including `loss`, and one prediction for each example of the split in order."""

    metrics: dict[str, float]
    predictions: list[Any]


@contextmanager
def inference(model: torch.nn.Module, precision: str = "fp32") -> Iterator[None]:
    """Turn off gradients and dropout; afterwards, the model is in the same mode as before."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(model, precision):
            yield
    finally:
        model.train(was_training)


def require_independence(model: torch.nn.Module, task: Task, data: EvalSet) -> None:
    """Raise a UserError if the logits of the shortest example change beside the longest one.

    Some models, such as FNet, ConvBERT and Funnel with its decoder, mix padding into their results. A loss that is not the sum of the losses of both examples is told too.
    """
    lengths = data.encoded["length"][:]
    short, long = int(np.argmin(lengths)), int(np.argmax(lengths))
    device = next(model.parameters()).device
    with unsharded(model), inference(model):
        (loss, alone), (other, _), (of_both, beside) = (
            _checked_loss(task, model, {k: v.to(device) for k, v in data.batch(rows).items()})
            for rows in ([short], [long], [short, long])
        )
    beside = beside[tuple(map(slice, alone.shape))]  # without padding and the other example
    difference = float((alone - beside).abs().sum()) if alone.shape == beside.shape else 0.0
    if not difference <= LARGEST_INFLUENCE * max(1.0, float(alone.abs().sum())):
        raise UserError(
            f"model: {type(inner_model(model) or model).__name__} mixes padding into its results: its logits "
            f"for {data.split.where(short)} differ by {difference:.2g} beside a longer example, so that "
            "predictions would depend on the batch; use another type of model"
        )
    if not math.isclose(loss + other, of_both, rel_tol=1e-2, abs_tol=1e-2):
        say(
            f"WARNING: {type(task).__name__}.loss of two examples is {of_both:.4g} together, but {loss:.4g} and "
            f"{other:.4g} alone; it has to be the sum over a batch, or the loss depends on the batch size"
        )


def _checked_loss(task: Task, model: torch.nn.Module, batch: Batch) -> tuple[float, torch.Tensor]:
    result = task.loss(model, batch)
    if not isinstance(result, tuple) or len(result) != 2:
        raise UserError(
            f"task: {type(task).__name__}.loss: expected the summed loss and the logits, got a "
            f"{type(result).__name__}"
        )
    return result[0].item(), result[1].float()


def evaluate(
    model: PreTrainedModel, task: Task, data: EvalSet, precision: str = "fp32"
) -> Evaluation:
    """Predict all of `data` in `precision`, and compute the metrics of `task`.

    The loss is the sum over all targets divided by their number, so it does not depend on the size of
    the batches. Each of several processes computes some of the batches, and all get the same result.
    """
    device = next(model.parameters()).device
    batches = data.batches()
    own = []
    with unsharded(model), inference(model, precision):
        for number in range(rank(), len(batches), count()):
            batch = data.batch(batches[number])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            loss, logits = task.loss(model, batch)
            made = task.predictions(model, data.tokenizer, batch, logits)
            if not isinstance(made, list) or len(made) != len(batches[number]):
                raise UserError(
                    f"task: {type(task).__name__}.predictions: expected a list with one prediction for each of "
                    f"the {len(batches[number])} examples of a batch, got {type(made).__name__}"
                    + (f" of {len(made)}" if hasattr(made, "__len__") else "")
                )
            own.append((number, loss.item(), task.count_targets(batch), made))
    predictions: list[Any] = [None] * len(data.encoded)
    total, targets = 0.0, 0
    for number, of_batch, targets_of_batch, made in sorted(gathered(own), key=itemgetter(0)):
        total += of_batch
        targets += targets_of_batch
        for i, prediction in zip(batches[number], made, strict=True):
            predictions[i] = prediction
    mean = total / max(targets, 1)
    scores = task.score(mean, predictions, data.split, data.encoded)
    return Evaluation({"loss": mean, **scores}, predictions)


def score_of_rest(
    task: Task, evaluation: Evaluation, data: EvalSet, without: Collection[int]
) -> dict[str, float]:
    """The metrics of all examples but those at some positions; empty if nothing can be left out."""
    if not without or not task.metrics or len(without) == len(data.split):
        return {}
    left_out = frozenset(without)
    scores: dict[str, float] = {}
    for needs in task.all_needs():
        seen = task.seen_by(needs, evaluation.predictions, data.split, data.encoded)
        predicted, references, examples = seen
        if examples is None and len(predicted) != len(data.split):
            return {}  # the metrics of a task of the user's own may compare other things than examples
        owners = range(len(predicted)) if examples is None else examples
        rest = [i for i, example in enumerate(owners) if example not in left_out]
        scores |= task.compute(
            [predicted[i] for i in rest], references and [references[i] for i in rest], needs
        )
    return scores
