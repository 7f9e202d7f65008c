"""What happens between optimizer steps: logging, evaluation, the best weights, early stopping."""

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from expkit.config.direction import MAXIMIZE, MINIMIZE
from expkit.data.steps import Steps
from expkit.metrics.result import curve_of
from expkit.processes.group import barrier
from expkit.processes.ranks import is_main
from expkit.terminal.display import Progress
from expkit.terminal.errors import Pruned, UserError, nearest
from expkit.training.checkpoint import load_weights, save_weights
from expkit.training.interface import StepResult
from expkit.training.sharding import unsharded

Log = Callable[[dict[str, float], int], None]

SHOWN = 32  # examples of a step that a message lists


@dataclass
class Monitor:
    """Logs, evaluates and keeps the best weights. A backend calls `on_step` after each step.

    Args:
        evaluate: scores the model as it is now; the metrics have names as in `objective`, and are those of the
            validation split and of the set that the objective names.
        log: logs the metrics of a step.
        objective: name of the metric that decides, such as eval/f1, or june/f1 for a further set.
        direction: whether to `minimize` or to `maximize` the objective.
        eval_every: steps between evaluations; None: one after each epoch. The last step is always
            followed by one.
        patience: how many evaluations without a better objective end training; None: never.
        best_file: where the best weights are kept.
        keep: writes a checkpoint; its argument is the number of steps done.
        keep_every: steps between checkpoints; None: one after each evaluation.
        keep_common: called after each step, and after the last one before what only the end of the run causes.
        must_stop: asked after each step. If it returns True, a checkpoint is written and
            KeyboardInterrupt is raised.
        is_promising: asked after each evaluation, with the share of the steps that are done and the
            objective. If it returns False and steps are left, Pruned is raised.
    """

    model: torch.nn.Module
    steps: Steps
    evaluate: Callable[[], dict[str, float]]
    log: Log
    progress: Progress
    _: KW_ONLY
    objective: str
    direction: str
    eval_every: int | None
    log_every: int
    patience: int | None
    best_file: Path
    keep: Callable[[int], None] = lambda done: None
    keep_every: int | None = None
    keep_common: Callable[[int], None] = lambda done: None
    must_stop: Callable[[], bool] = lambda: False
    is_promising: Callable[[float, float], bool] = lambda share, value: True

    def __post_init__(self) -> None:
        self._sign = {MINIMIZE: -1.0, MAXIMIZE: 1.0}[self.direction]
        self._evaluations_since_best = 0
        self._losses: list[torch.Tensor] = []
        self._examples = 0
        self._window_started = time.perf_counter()
        self._best: float | None = None
        self.best_step = 0
        self.done = 0
        self.kept = 0  # the step of the last checkpoint

    def on_start(self) -> None:
        """Evaluate at step 0; this score can be the best one and does not count against patience."""
        self._evaluate_at(0)

    def on_step(self, result: StepResult) -> bool:
        """Log, evaluate and write a checkpoint when they are due; return whether to stop training.

        Raises:
            UserError: a loss is not finite.
            Pruned: see `is_promising`.
            KeyboardInterrupt: see `must_stop`.
        """
        self.done = result.done
        self._losses.append(result.loss)
        self._examples += result.examples
        is_last = result.done == len(self.steps)
        logging_is_due = result.done % self.log_every == 0
        evaluation_is_due = result.done % (self.eval_every or self.steps.steps_per_epoch) == 0
        if is_last or logging_is_due or evaluation_is_due or self._checkpoint_is_due(False):
            self._require_numbers()
        self.progress.advance(result.done)
        self._record(result, logging_is_due, evaluation_is_due)
        self.keep_common(result.done)
        if is_last:
            self._record(result, not logging_is_due, not evaluation_is_due)
        must_stop = self.must_stop()
        if must_stop or self.is_over or self._checkpoint_is_due(evaluation_is_due):
            self._require_numbers()
            self.keep(result.done)
            self.kept = result.done
        if must_stop:
            raise KeyboardInterrupt
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether all steps are done or patience is used up."""
        if self.done == len(self.steps):
            return True
        return self.patience is not None and self._evaluations_since_best >= self.patience

    def memory(self) -> dict[str, Any]:
        """The state that the monitor of a resumed run needs, as JSON."""
        return {
            "best": self._best,
            "best_step": self.best_step,
            "evaluations_since_best": self._evaluations_since_best,
            "losses": [loss.item() for loss in self._losses],
            "examples": self._examples,
        }

    def recall(self, done: int, memory: dict[str, Any]) -> None:
        """Go on after `done` steps with the state that `memory` returned then."""
        self.done = done
        self._best = memory["best"]
        self.best_step = memory["best_step"]
        self._evaluations_since_best = memory["evaluations_since_best"]
        device = next(self.model.parameters()).device
        self._losses = [torch.tensor(loss, device=device) for loss in memory["losses"]]
        self._examples = memory["examples"]
        self.kept = done
        self.progress.advance(done)

    def restore_best(self) -> None:
        """Put the best weights back into the model."""
        barrier()  # until the main process has written them
        load_weights(self.model, self.best_file)

    def _checkpoint_is_due(self, has_been_evaluated: bool) -> bool:
        if self.keep_every is None:
            return has_been_evaluated
        return self.done % self.keep_every == 0

    def _record(self, result: StepResult, logs: bool, evaluates: bool) -> None:
        if logs:
            self._log_training(result)
        if evaluates:
            self._evaluate_at(result.done)

    def _require_numbers(self) -> None:
        """Raise a UserError if the loss of a step since the last logging is not finite."""
        if not self._losses:
            return
        losses = torch.stack(self._losses)
        wrong = (~torch.isfinite(losses)).nonzero().flatten().tolist()
        if wrong:
            step = self.done - len(losses) + wrong[0] + 1
            examples = [i for batch in self.steps.indices(step - 1) for i in batch]
            shown = ", ".join(map(str, examples[:SHOWN])) + (" ..." if examples[SHOWN:] else "")
            kept = (
                f"the last checkpoint is of step {self.kept}" if self.kept else "no checkpoint yet"
            )
            raise UserError(
                f"training has diverged: train/loss is {losses[wrong[0]].item()} at step {step} of "
                f"{len(self.steps)}; {kept}; try a smaller optimizer.lr or train.max_grad_norm, or "
                f"precision=fp32; the step used the training examples {shown} (counted from 0)"
            )

    def _log_training(self, result: StepResult) -> None:
        now = time.perf_counter()
        loss = torch.stack(self._losses).mean().item()
        rate = self._examples / max(now - self._window_started, 1e-9)
        self.log(
            {
                "train/loss": loss,
                "train/learning_rate": result.learning_rate,
                "train/grad_norm": float(result.grad_norm),
                "train/samples_per_second": rate,
            },
            result.done,
        )
        self.progress.show(loss=loss, rate=rate)
        self._losses, self._examples, self._window_started = [], 0, now

    def _evaluate_at(self, done: int) -> None:
        paused = time.perf_counter()
        metrics = self.evaluate()
        if self.objective not in metrics:
            raise UserError(
                f"objective={self.objective!r}: no such metric; {nearest(self.objective, metrics)}"
            )
        curves = {curve_of(name): value for name, value in metrics.items()}
        self.log(curves, done)
        self.progress.evaluated(done, curves)
        value = metrics[self.objective]
        best = self._best if self._best is not None else float("nan")
        if best != best or self._sign * value > self._sign * best:  # any value is better than NaN
            self._best, self.best_step, self._evaluations_since_best = value, done, 0
            with unsharded(self.model):
                if is_main():
                    save_weights(self.model, self.best_file)
        else:
            self._evaluations_since_best += 1
        self._window_started += time.perf_counter() - paused
        total = len(self.steps)
        if not self.is_promising(done / total, value) and done < total:
            raise Pruned(f"{self.objective} is {value:.4f} at step {done} of {total}")
