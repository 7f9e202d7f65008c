"""The training of a run, from its first step or from a checkpoint, to its best weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from expkit.config.direction import direction_of
from expkit.config.fingerprint import differences
from expkit.config.project import COMMON
from expkit.config.resolved import plain
from expkit.metrics.result import VALIDATION, set_of
from expkit.optim import common_steps, digest_of_settings
from expkit.processes.group import any_of, from_main
from expkit.processes.interrupts import stops_after_step
from expkit.processes.outcome import IsPromising
from expkit.terminal.display import Progress, say
from expkit.terminal.errors import Pruned, UserError
from expkit.training import checkpoint
from expkit.training.evaluation import evaluate
from expkit.training.monitor import Monitor
from expkit.training.precision import matmul
from expkit.training.prepared import Prepared

WHAT_IT_TAKES = (
    "a longer run can continue one with checkpoint.keep_final=true and scheduler=constant or wsd, with "
    "scheduler.warmup_steps in place of scheduler.warmup_ratio, unless train.patience has ended it"
)


def train(
    cfg: DictConfig,
    prepared: Prepared,
    tracked: Any,
    state: checkpoint.SavedState | None,
    is_promising: IsPromising | None = None,
) -> None:
    """Fit, from a checkpoint if there is one, and leave the best weights in the model.

    Args:
        tracked: the run that is logged, an `expkit.tracking.run.AnyRun`.

    Raises:
        KeyboardInterrupt: a signal has come.
        Pruned: `is_promising` returned False after an evaluation.
        UserError: a loss is not finite, or the run was deleted meanwhile.
    """
    training = prepared.training
    tracked.tag("precision", training.precision)
    common = _common(cfg, len(training.steps))
    with Progress(len(training.steps)) as progress, stops_after_step() as must_stop:
        monitor = _monitor(cfg, prepared, tracked, progress, must_stop, is_promising, common)
        start = _restored(prepared, monitor, state, tracked.folder)
        if (
            start and start == common
        ):  # what was taken over is also what a still longer run begins with
            _keep_common(cfg, prepared, tracked, monitor)
        elif start > common > 0 and not checkpoint.exists(tracked.folder, COMMON):
            say(f"nothing is kept for a longer run, as step {common} is over")
        try:
            if not state and cfg.train.eval_on_start:
                monitor.on_start()
            if not monitor.is_over:
                with matmul(training.precision):
                    prepared.backend.fit(replace(training, start=start), monitor.on_step)
        except KeyboardInterrupt:
            if not tracked.is_deleted():
                raise
            raise UserError(
                f"training has stopped because the run was deleted in MLflow; {tracked.folder} keeps "
                f"its checkpoint, and when the run is restored, resume={tracked.id} goes on"
            ) from None
        except Pruned:
            checkpoint.remove(tracked.folder)  # a pruned run is never resumed
            raise
        if any_of(must_stop()):
            raise KeyboardInterrupt
    monitor.restore_best()


def _common(cfg: DictConfig, total: int) -> int:
    """After how many steps to keep the state for a longer run, taken to have twice as many; 0: never."""
    common = common_steps(cfg, total, 2 * total) if cfg.checkpoint.get("keep_final") else -1
    if common == 0:
        say(f"nothing is kept, as learning rates depend on the number of steps: {WHAT_IT_TAKES}")
    return common


def _monitor(
    cfg: DictConfig,
    prepared: Prepared,
    tracked: Any,
    progress: Progress,
    must_stop: Callable[[], bool],
    is_promising: IsPromising | None,
    common: int,
) -> Monitor:
    """The monitor of this run. In several processes, all take the same decisions."""
    training = prepared.training
    deciding = {"eval": VALIDATION, cfg.objective.partition("/")[0]: set_of(cfg.objective)}

    def scores() -> dict[str, float]:
        return {
            f"{group}/{metric}": value
            for group, name in deciding.items()
            for metric, value in evaluate(
                training.model, prepared.task, prepared.eval_sets[name], training.precision
            ).metrics.items()
        }

    def keep(done: int) -> None:
        memory = {"monitor": monitor.memory(), "logged": tracked.position()}
        checkpoint.save(training, done, memory, tracked.folder, cfg.checkpoint.keep)

    monitor = Monitor(
        training.model,
        training.steps,
        scores,
        tracked.log,
        progress,
        objective=cfg.objective,
        direction=direction_of(plain(cfg)),
        eval_every=cfg.train.eval_every,
        log_every=cfg.train.log_every,
        patience=cfg.train.patience,
        best_file=tracked.folder / checkpoint.BEST,
        keep=keep,
        keep_every=cfg.checkpoint.every_steps,
        keep_common=lambda done: (
            _keep_common(cfg, prepared, tracked, monitor) if done == common else None
        ),
        must_stop=lambda: any_of(must_stop() or bool(tracked.is_deleted())),
        is_promising=lambda share, value: (
            is_promising is None or from_main(lambda: is_promising(share, value))
        ),
    )
    return monitor


def _keep_common(cfg: DictConfig, prepared: Prepared, tracked: Any, monitor: Monitor) -> None:
    """Keep the state from which a longer run can go on, with what that run has to compare."""
    steps, curves = prepared.training.steps, tracked.curves() or ""
    memory = {
        "monitor": monitor.memory(),
        "logged": len(curves),  # a longer run begins with them
        "curves": curves,
        "settings": digest_of_settings(cfg, len(steps), monitor.done),
        "steps": (len(steps), steps.steps_per_epoch),
        "data": prepared.splits.digests(),
    }
    checkpoint.save(prepared.training, monitor.done, memory, tracked.folder)


def _restored(
    prepared: Prepared, monitor: Monitor, state: checkpoint.SavedState | None, folder: Path
) -> int:
    """Load a checkpoint if there is one, and return how many steps are done."""
    if state is None:
        return 0
    digests = prepared.splits.digests()
    if changed := differences(state.memory.get("data", digests), digests):
        checkpoint.remove(folder)  # or resume=auto would come back here
        raise UserError(
            f"the data have changed since the first {state.done} steps: {'; '.join(changed)}; a run without resume=ID "
            "trains on them from the start"
        )
    checkpoint.restore(prepared.training, state)
    checkpoint.restore_best(state, folder)
    monitor.recall(state.done, state.memory["monitor"])
    say(f"goes on after step {state.done} of {len(prepared.training.steps)}")
    return state.done
