"""`precision=auto`: whichever of fp32 and bf16 trains faster here, timed on the run's own batches.

What was timed is kept under outputs/cache, by machine, model and shape: the next run does not wait for it.
"""

import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from filelock import FileLock
from torch.nn.utils import get_total_norm
from transformers import PreTrainedModel

from expkit import randomness
from expkit.config.fingerprint import digest_of_facts
from expkit.config.project import output_dir, run_folder
from expkit.data.steps import Batch, Steps
from expkit.display import say
from expkit.errors import reason
from expkit.precision import autocast, choose_attention, has_fast_bf16
from expkit.processes import from_main
from expkit.tasks.interface import Task, items
from expkit.tracking.past import SWEEP_VARIABLE

CANDIDATES = ("fp32", "bf16")
BATCHES = 3
ROUNDS = 3  # of which the fastest counts: in the first one libraries prepare for each shape
ENOUGH = 3.0  # seconds, after which no third round begins
REASON_LIMIT = 200  # characters

Figures = dict[str, float | str]  # by candidate: examples a second, or why it cannot be used


@dataclass(frozen=True)
class Trial:
    """What is timed: forward and backward passes over some batches, without an optimizer.

    Args:
        model: as it is trained; `base` is the same without what LoRA puts around it.
    """

    model: torch.nn.Module
    base: PreTrainedModel
    task: Task
    steps: Steps

    def batches(self) -> list[Batch]:
        """The first one of each of the first steps."""
        return [self.steps[i][0] for i in range(min(BATCHES, len(self.steps)))]


def settle(wanted: str, trial: Trial) -> str:
    """What `auto` stands for; every other precision stands for itself.

    Of several processes the main one decides.
    """
    return wanted if wanted != "auto" else from_main(partial(_settled, trial))


def _settled(trial: Trial) -> str:
    """All jobs of a sweep take what its first one has taken, or the sweep would compare precisions."""
    sweep = os.environ.get(SWEEP_VARIABLE)
    if not sweep:
        return _faster(trial)
    taken = str(_once(run_folder(sweep) / "precision.json", partial(_faster, trial)))
    if taken != "fp32" and isinstance(why := _figures(trial)[taken], str):
        say(f"precision=auto: fp32, because the {taken} of this sweep fails here ({why})")
        return "fp32"
    say(f"precision=auto: {taken}, as in all jobs of this sweep")
    return taken


def _faster(trial: Trial) -> str:
    if not has_fast_bf16():
        return "fp32"
    figures = _figures(trial)
    rates = {name: figure for name, figure in figures.items() if isinstance(figure, float)}
    taken = max(rates, key=rates.__getitem__, default="fp32")
    shown = [
        f"{name} {f'fails ({figure})' if isinstance(figure, str) else f'{figure:.4g} samples/s'}"
        for name, figure in figures.items()
    ]
    say(f"precision=auto: {taken}; a few steps of each on this machine: {', '.join(shown)}")
    return taken


def _figures(trial: Trial) -> Figures:
    file = output_dir() / "cache" / "precision" / f"{digest_of_facts(_facts(trial))}.json"
    figures: Figures = _once(file, partial(_timed, trial))
    return figures


def _once(file: Path, make: Callable[[], Any]) -> Any:
    """The JSON in `file`, which the first process makes while the others wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.parent / ".lock"):
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            made = make()
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(made), encoding="utf-8")
        unfinished.replace(file)
        return made


def _facts(trial: Trial) -> dict[str, Any]:
    """What the figures depend on."""
    config = trial.base.config.to_dict()
    return {
        "machine": [_processor(), os.cpu_count(), torch.get_num_threads(), torch.__version__],
        "model": [type(trial.base).__name__, json.dumps(config, default=str, sort_keys=True)],
        "trained": [p.numel() for p in trial.model.parameters() if p.requires_grad],
        "task": type(trial.task).__qualname__,
        "max_length": trial.task.max_length,
        "batches": trial.steps.shape,
    }


def _processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        found = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return platform.processor()
    return " ".join(re.findall(r"^(?:model|cpu family|stepping).*", found, re.MULTILINE))


def _timed(trial: Trial) -> Figures:
    """Examples a second for each candidate, which take turns; the fastest of some turns counts."""
    fastest: dict[tuple[str, int], float] = {}
    failed: Figures = {}
    started = perf_counter()
    with _untouched(trial):
        batches = trial.batches()
        for turn, number, name in product(range(ROUNDS), range(len(batches)), CANDIDATES):
            if name in failed or (turn == ROUNDS - 1 and perf_counter() - started > ENOUGH):
                continue
            try:
                seconds = _step(trial, name, batches[number])
            except (ArithmeticError, RuntimeError, TypeError) as error:
                failed[name] = reason(error)[:REASON_LIMIT]
            else:
                fastest[name, number] = min(seconds, fastest.get((name, number), seconds))
    examples = sum(len(batch["labels"]) for batch in batches)
    return {
        name: failed.get(name)
        or examples / sum(fastest[name, number] for number in range(len(batches)))
        for name in CANDIDATES
    }


def _step(trial: Trial, name: str, batch: Batch) -> float:
    """Seconds of a forward and a backward pass.

    Raises:
        ArithmeticError: loss or gradients are not finite.
    """
    trial.model.zero_grad(set_to_none=True)
    device = trial.base.device
    batch = {key: tensor.to(device) for key, tensor in batch.items()}
    choose_attention(trial.base, name, trial.task.max_length)
    _wait(device)
    started = perf_counter()
    with autocast(trial.model, name):
        total, _ = trial.task.loss(trial.model, batch)
        loss = total / max(items(batch), 1)
    loss.backward()
    _wait(device)
    seconds = perf_counter() - started
    norm = get_total_norm([p.grad for p in trial.model.parameters() if p.grad is not None])
    if not bool(torch.isfinite(loss + norm)):
        raise ArithmeticError(f"the loss is {loss.item()}, the norm of its gradient {norm.item()}")
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _untouched(trial: Trial) -> Iterator[None]:
    """Train meanwhile; buffers, modes, gradients and random generators are then as they were."""
    modes = [(module, module.training) for module in trial.model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module, _ in modes
        for name, buffer in module.named_buffers(recurse=False)
    ]
    trial.model.train()
    try:
        with randomness.kept():
            yield
    finally:
        trial.model.zero_grad(set_to_none=True)
        for module, mode in modes:
            module.training = mode
        for module, name, buffer, before in buffers:
            setattr(module, name, buffer.copy_(before))
