"""What the tests of several processes let each of them do."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.distributed.launcher.api import elastic_launch

from conftest import SMALL_RUNS, SMALL_TASKS, composed
from expkit.data.splits import Split
from expkit.data.steps import Batch
from expkit.experiment import prepare
from expkit.models.head import Head
from expkit.processes.group import barrier, joined
from expkit.processes.launch import on_this_machine
from expkit.tasks.interface import Task, logits_of
from expkit.terminal.quiet import hush
from expkit.training import checkpoint
from expkit.training.evaluation import evaluate
from expkit.training.interface import StepResult
from expkit.training.sharding import unsharded


class Numbers(Task):
    """A task with fractions as labels, which has never heard of labels that do not count."""

    pipeline = "text-classification"

    def __init__(
        self, text_columns: list[str], label_column: str, max_length: int, **unused: Any
    ) -> None:
        super().__init__(text_columns, max_length)
        self._label_column = label_column

    def head(self) -> Head:
        """One number."""
        config = {"num_labels": 1, "problem_type": "regression"}
        return Head("AutoModelForSequenceClassification", config)

    def labels(self, split: Split) -> list[float]:
        """Fractions."""
        return [2.5 * label + 0.25 for label in split.numbers(self._label_column)]

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The squared error."""
        logits = logits_of(model, batch)
        return F.mse_loss(logits[:, 0], batch["labels"], reduction="sum"), logits

    def predictions(self, model: Any, tokenizer: Any, batch: Batch, logits: Any) -> list[float]:
        """The numbers."""
        return logits[:, 0].tolist()


TASKS = {
    **SMALL_RUNS,
    "weighted_texts": (
        *SMALL_TASKS["text_classification"],
        "task.class_weights={1:3}",
        "task.label_smoothing=0.1",
    ),
    "numbers": (
        *SMALL_TASKS["text_classification"],
        "task._target_=in_processes.Numbers",
        "~task.metrics",
    ),
}


@dataclass(frozen=True)
class Fitted:
    """A short training, and what its model then predicts."""

    losses: list[float]
    norms: list[float]
    examples: list[int]
    metrics: dict[str, float]
    predictions: list[Any]
    weights: dict[str, torch.Tensor]


def fitted(task: str, *overrides: str) -> Fitted:
    """Train on 56 examples in batches of 8: seven micro-batches an epoch, so that a step is short."""
    prepared = prepare(composed(*TASKS[task], "data.sizes.train=56", *overrides))
    steps: list[StepResult] = []
    training = prepared.training
    prepared.backend.fit(training, lambda result: bool(steps.append(result)))
    scored = evaluate(training.model, training.task, prepared.eval_sets["validation"])
    with unsharded(training.model):
        weights = {
            n: p.detach().clone() for n, p in training.model.named_parameters() if p.requires_grad
        }
    return Fitted(
        [float(step.loss) for step in steps],
        [float(step.grad_norm) for step in steps],
        [step.examples for step in steps],
        scored.metrics,
        scored.predictions,
        weights,
    )


def resumed(folder: Path, task: str, *overrides: str) -> list[float]:
    """The losses of a training that is cut off after two steps and goes on in another model."""
    losses: list[float] = []

    def on_step(result: StepResult) -> bool:
        losses.append(float(result.loss))
        return result.done == 2

    options = (*TASKS[task], "data.sizes.train=56", *overrides)
    prepared = prepare(composed(*options))
    training = prepared.training
    prepared.backend.fit(training, on_step)
    checkpoint.save(training, 2, {}, folder, keep=1)
    barrier()
    found = checkpoint.newest(folder)
    assert found is not None
    again = prepare(composed(*options, "seed=7"))  # other weights than those that are to come back
    rest = replace(again.training, steps=training.steps, seed=training.seed, start=2)
    checkpoint.restore(rest, found)
    again.backend.fit(rest, on_step)
    return losses


def each_resumed(folder: Path, works: list[tuple[str, ...]]) -> list[list[float]]:
    """Carry out all of it, one after another, as a member of the processes that are started."""
    os.chdir(folder)
    torch.set_num_threads(1)
    with joined():
        folders = [folder / str(number) for number in range(len(works))]
        for made in folders:
            made.mkdir(exist_ok=True)
        return [resumed(made, *work) for made, work in zip(folders, works, strict=True)]


def each(folder: Path, works: list[tuple[str, ...]]) -> list[Fitted]:
    """Carry out all of it, one after another, as a member of the processes that are started."""
    os.chdir(folder)
    torch.set_num_threads(1)
    hush()
    with joined():
        return [fitted(*work) for work in works]


def together(count: int, work: Callable[..., Any], *arguments: Any) -> dict[int, Any]:
    """What `work` returns in each of `count` processes."""
    return dict(elastic_launch(on_this_machine(count), work)(*arguments))
