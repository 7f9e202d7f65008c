"""A bare loop and both backends of expkit train by turns, some steps at a time, and are timed.

python -m benchmarks.overhead_run OUT override ...

All three train on the same batches with the same model, optimizer and schedule. Ratios are taken
between blocks of the same steps that were run next to each other.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from omegaconf import DictConfig
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from benchmarks.expkit_run import configuration
from expkit import experiment
from expkit.config.direction import MAXIMIZE
from expkit.experiment import Prepared
from expkit.terminal.display import Progress
from expkit.terminal.quiet import hush
from expkit.tracking.outbox import FLUSH_AFTER
from expkit.tracking.run import AnyRun, open_run
from expkit.training import checkpoint
from expkit.training.evaluation import evaluate
from expkit.training.interface import StepResult
from expkit.training.monitor import Monitor

BLOCKS = 9  # the first one is warm-up
# More than a second's worth, so that a block holds its share of the requests to MLflow, which a
# thread sends once a second.
STEPS = 12
UNTIMED = 1  # a block's first step: there a backend sets itself up
PER_BLOCK = UNTIMED + STEPS

Block = Callable[[int], float]  # trains from a step on; returns seconds for each timed step


def main() -> None:
    """Write how long a step takes, absolutely and as a multiple of a bare one."""
    # A step more than is ever done: the last one is followed by an evaluation.
    out, overrides = Path(sys.argv[1]), [*sys.argv[2:], f"train.max_steps={BLOCKS * PER_BLOCK + 1}"]
    cfg = configuration(overrides)
    hush()
    with open_run(cfg.tracking, "benchmark", {}, resume="never") as tracked:
        tracked.start()
        blocks = {"bare": bare(experiment.prepare(cfg))}
        for backend in ("torch", "trainer"):
            chosen = configuration([*overrides, f"backend={backend}"])
            blocks[backend] = expkit(chosen, experiment.prepare(chosen), tracked)
        seconds = {name: [0.0] * BLOCKS for name in blocks}
        for number in range(BLOCKS):
            for name in _rotated(list(blocks), number):
                seconds[name][number] = blocks[name](number * PER_BLOCK)
                time.sleep(2 * FLUSH_AFTER)  # what is queued must not be sent in another's time
    result = {}
    for name, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken[1:], seconds["bare"][1:], strict=True)]
        result[f"{name}/times_a_bare_step"] = statistics.median(ratios)
        result[f"{name}/seconds_per_step"] = statistics.median(taken[1:])
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def bare(prepared: Prepared) -> Block:
    """The loop that one would write for this model and nothing else."""
    training = prepared.training
    model, optimizer, scheduler = training.model, training.optimizer, training.scheduler
    device = next(model.parameters()).device
    rows: Any = [
        {k: v for k, v in row.items() if k != "length"} for row in prepared.encoded["train"]
    ]
    collate = DataCollatorWithPadding(prepared.tokenizer)

    def block(first: int) -> float:
        batches = [training.steps.indices(i)[0] for i in range(first, first + PER_BLOCK)]
        ends = []
        model.train()
        for batch in DataLoader(rows, batch_sampler=batches, collate_fn=collate):
            batch = batch.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
                total, _ = training.task.loss(model, batch)  # the same arithmetic
            (total / len(batch["labels"])).backward()
            clip_grad_norm_(model.parameters(), training.max_grad_norm or float("inf"))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            ends.append(perf_counter())
        return _per_step(ends)

    return block


def expkit(cfg: DictConfig, prepared: Prepared, tracked: AnyRun) -> Block:
    """A backend with the monitor that a run has."""
    training = prepared.training
    validation = prepared.eval_sets["validation"]

    def evaluated() -> dict[str, float]:
        found = evaluate(training.model, prepared.task, validation, training.precision)
        return {f"eval/{name}": value for name, value in found.metrics.items()}

    monitor = Monitor(
        training.model,
        training.steps,
        evaluated,
        tracked.log,
        Progress(len(training.steps)),
        objective=cfg.objective,
        direction=MAXIMIZE,
        eval_every=cfg.train.eval_every,
        log_every=cfg.train.log_every,
        patience=cfg.train.patience,
        best_file=tracked.folder / checkpoint.BEST,
    )

    def block(first: int) -> float:
        ends: list[float] = []

        def on_step(result: StepResult) -> bool:
            monitor.on_step(result)
            ends.append(perf_counter())
            return len(ends) == PER_BLOCK

        prepared.backend.fit(replace(training, start=first), on_step)
        return _per_step(ends)

    return block


def _per_step(ends: list[float]) -> float:
    return (ends[-1] - ends[UNTIMED - 1]) / STEPS


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


if __name__ == "__main__":
    main()
