"""What a backend gets, and what it has to do. A class of your own needs no base class."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from expkit.data.steps import Batch, Steps
from expkit.processes.group import summed
from expkit.tasks.interface import Task
from expkit.training.randomness import seed_batch


@dataclass(frozen=True)
class Training:
    """All that optimizer steps need. The backend changes model and optimizer in place.

    `precision` is "fp32", "tf32", "bf16" or "fp16". If `max_grad_norm` is None, gradients are not
    clipped. The first `start` steps were done before the run was cut off. In fp16, `loss_scale` is the
    state of a GradScaler: a backend starts from it, and updates it before it reports a step.
    """

    model: torch.nn.Module
    task: Task
    steps: Steps
    optimizer: Optimizer
    scheduler: LRScheduler
    precision: str
    max_grad_norm: float | None
    seed: int
    start: int = 0
    loss_scale: dict[str, Any] = field(default_factory=dict)

    def micro_batches(self, done: int, batches: list[Batch]) -> Iterator[tuple[Batch, float, bool]]:
        """What this process computes of step `done`, with the random generators seeded for each.

        Beside each micro-batch stand what its summed loss is to be divided by, and whether it is the last
        one. The divisor is the training weight of the step in all processes. It is infinite for the
        copy that a process computes when it has no micro-batch of its own left, so that the loss and the
        gradients of the copy are zeros, whatever its labels are.
        """
        count = len(self.steps.indices(done - 1))
        own = list(zip(self.steps.positions(), batches, strict=False))
        weight = sum(self.task.training_weight(batch) for at, batch in own if at < count)
        # Nothing is divided by zero where no micro-batch has a target.
        divisor = float(summed(torch.tensor(weight, dtype=torch.float64))) or 1.0
        for number, (position, batch) in enumerate(own, start=1):
            seed_batch(self.seed, done, position)
            yield batch, divisor if position < count else math.inf, number == len(own)


@dataclass(frozen=True)
class StepResult:
    """One finished optimizer step.

    `loss` is the mean over the targets of all micro-batches in all processes, and `grad_norm` is the
    norm before clipping. Both are scalars on the model's device. `done` counts steps, from 1.
    """

    done: int
    loss: torch.Tensor
    grad_norm: torch.Tensor
    learning_rate: float
    examples: int


# A backend calls it after each step. It returns whether to stop.
OnStep = Callable[[StepResult], bool]


class Backend(Protocol):
    """Carries out `training.steps` in order, from `training.start` on."""

    def fit(self, training: Training, on_step: OnStep) -> None:
        """Train in place until all steps are done or `on_step` returns True.

        Leave the model in training mode, without wrappers and hooks.
        """
