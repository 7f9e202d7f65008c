"""`precision=auto` takes fp32 or bf16, whichever trains the run's own batches faster on this machine."""

import json
import os
import platform
import random
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch.nn.utils import get_total_norm

from expkit.config.fingerprint import digest_of_values
from expkit.config.project import output_dir, run_folder
from expkit.data.steps import Batch, Steps
from expkit.processes.context import job_context
from expkit.processes.group import device, from_main
from expkit.tasks.interface import Task
from expkit.terminal.display import say
from expkit.terminal.errors import reason
from expkit.training.precision import autocast, choose_attention, has_fast_bf16

CANDIDATES = ("fp32", "bf16")
WARM_UP, TIMED = 3, 7  # batches
LOCK_TIMEOUT = 600.0  # seconds

Figures = dict[str, float | str]  # for each candidate, examples a second or why it cannot be used


@dataclass(frozen=True)
class Trial:
    """What is timed: forward and backward passes over the first batches of `steps`."""

    model: torch.nn.Module
    task: Task
    steps: Steps


def settle(wanted: str, trial: Trial) -> str:
    """Replace `auto` by the precision that the main process chooses, and return any other as it is.

    The jobs of a sweep take the choice of its first job, because otherwise the sweep would compare
    precisions. A job where that choice fails takes fp32.
    """
    return wanted if wanted != "auto" else from_main(partial(_settled, trial))


def _settled(trial: Trial) -> str:
    sweep = job_context().sweep
    if not sweep:
        return _faster(trial)
    taken: str = _once(run_folder(sweep) / "precision.json", partial(_faster, trial))
    if taken != "fp32" and isinstance(why := _figures(trial)[taken], str):
        say(
            f"precision=auto: fp32, because {taken}, which this sweep uses, fails on this machine ({why})"
        )
        return "fp32"
    say(f"precision=auto: {taken}, as in all jobs of this sweep")
    return taken


def _faster(trial: Trial) -> str:
    if not has_fast_bf16():
        return "fp32"
    figures = _figures(trial)
    rates = {name: figure for name, figure in figures.items() if isinstance(figure, float)}
    taken = max(rates, key=rates.__getitem__, default="fp32")
    shown = (
        f"{name} fails ({figure})" if isinstance(figure, str) else f"{name} {figure:.4g} samples/s"
        for name, figure in figures.items()
    )
    say(f"precision=auto: {taken}; a few steps of each on this machine: {', '.join(shown)}")
    return taken


def _figures(trial: Trial) -> Figures:
    """The figures, which are timed once for each machine, model and shape, and kept in the cache."""
    config: Any = trial.model.config
    identity = {
        "machine": [_processor(), os.cpu_count(), torch.get_num_threads(), torch.__version__],
        "model": [type(trial.model).__name__, config.to_json_string(use_diff=False)],
        "trained": sum(p.numel() for p in trial.model.parameters() if p.requires_grad),
        "inputs": [type(trial.task).__qualname__, trial.task.max_length, *trial.steps.shape],
    }
    file = output_dir() / "cache" / "precision" / f"{digest_of_values(identity)}.json"
    return _once(file, partial(_timed, trial))


def _processor() -> str:
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return platform.processor() + " ".join(sorted(set(re.findall(r"model.*|stepping.*", text))))


def _once(file: Path, make: Callable[[], Any]) -> Any:
    """The content of a JSON file, which the first process makes while the others wait.

    A process that gets no lock or cannot read the file makes the content for itself.
    """
    with ExitStack() as held:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(file.parent / "precision.lock", timeout=LOCK_TIMEOUT))
        with suppress(OSError, ValueError):  # the file is not there, or damaged
            return json.loads(file.read_text(encoding="utf-8"))
        made = make()
        with suppress(OSError):
            unfinished = file.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(made), encoding="utf-8")
            unfinished.replace(file)
        return made


def _timed(trial: Trial) -> Figures:
    """Time each candidate, and use the batch with the smallest total time.

    Other work on the machine has disturbed that batch least. Each batch is timed once: libraries prepare
    bf16 anew for each shape, and most shapes are new in training too, so the same batch would be faster the
    second time than training is.
    """
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    failed: Figures = {}
    with _untouched(trial.model):
        for step in range(min(WARM_UP + TIMED, len(trial.steps))):
            batch, examples = trial.steps[step][0], len(trial.steps.indices(step)[0])
            for name in CANDIDATES:  # in turn, so that a disturbance meets all of them
                if name not in failed:
                    try:
                        times[name].append(_step(trial, name, batch) / examples)
                    except (ArithmeticError, RuntimeError, TypeError) as error:
                        failed[name] = reason(error)[:200]
    rounds = list(
        zip(*(seconds for name, seconds in times.items() if name not in failed), strict=True)
    )
    least = min(rounds[WARM_UP:] or rounds[-1:], key=sum, default=())
    rates = zip((name for name in CANDIDATES if name not in failed), least, strict=True)
    return {**failed, **{name: 1 / seconds for name, seconds in rates}}


def _step(trial: Trial, name: str, batch: Batch) -> float:
    """Seconds of a forward and a backward pass. Raises ArithmeticError if one is not finite."""
    model = trial.model
    model.zero_grad(set_to_none=True)
    choose_attention(model, name, trial.task.max_length)
    weight, at = trial.task.training_weight(batch) or 1, next(model.parameters()).device
    started = perf_counter()
    batch = {key: tensor.to(at) for key, tensor in batch.items()}
    with autocast(model, name):
        total, _ = trial.task.training_loss(model, batch)
        loss = total / weight
    loss.backward()
    shown = loss.item()  # waits for the GPU
    seconds = perf_counter() - started
    norm = get_total_norm([p.grad for p in model.parameters() if p.grad is not None]).item()
    if not np.isfinite([shown, norm]).all():
        raise ArithmeticError(f"the loss is {shown}, the norm of its gradient {norm}")
    return seconds


@contextmanager
def _untouched(model: torch.nn.Module) -> Iterator[None]:
    """Set training mode; afterwards restore buffers, mode, gradients and random generators."""
    generators = random.getstate(), np.random.get_state()
    mode = model.training
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        model.zero_grad(set_to_none=True)
        model.train(mode)
        for name, buffer in model.named_buffers():
            buffer.data = buffers.get(name, buffer)  # the model may have replaced it
        torch.cuda.empty_cache()
        random.setstate(generators[0])
        np.random.set_state(generators[1])
