"""`dry_run=true`: what a run would be like, without one."""

import resource
import sys
import time
from datetime import timedelta

import torch
from omegaconf import DictConfig

from expkit.experiment import prepare
from expkit.models.hub import go_online_if_asked
from expkit.models.lora import trainable_parameters
from expkit.processes.group import device
from expkit.terminal.display import table
from expkit.terminal.quiet import hush
from expkit.training.interface import StepResult

TIMED_STEP = 2  # the first one warms up


def dry_run(cfg: DictConfig) -> None:
    """Carry out two steps, then print sizes, what the data look like, and estimates."""
    hush()
    go_online_if_asked(cfg)
    prepared = prepare(cfg)
    training, steps = prepared.training, prepared.training.steps
    times = [time.perf_counter()]

    def on_step(result: StepResult) -> bool:
        times.append(time.perf_counter())
        return result.done >= TIMED_STEP

    prepared.backend.fit(training, on_step)
    seconds = (times[-1] - times[-2]) * len(steps) / cfg.launch.processes
    model = training.model
    tokens = sum(prepared.eval_sets["validation"].encoded["length"][:])
    facts = {
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "trained parameters": f"{trainable_parameters(model):,}",
        "precision": training.precision,
        **prepared.task.describe(prepared.splits, prepared.tokenizer),
        "validation: tokens": f"{tokens:,}",
        "optimizer steps": f"{len(steps)} ({steps.steps_per_epoch} an epoch)",
        "time for training": f"about {timedelta(seconds=round(seconds))} (without evaluation)",
        "memory": f"{_peak_bytes() / 2**30:.1f} GiB",
    }
    table("dry run", ["", "value"], [[name, value] for name, value in facts.items()])


def _peak_bytes() -> int:
    """The most memory that has been in use, of the GPU if there is one, else of this process."""
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts KiB, on macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
