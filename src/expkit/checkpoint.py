"""The state of training in a folder, from which it goes on as if it had never stopped.

Batches and random numbers are functions of the seed and the step (data/steps.py, randomness.py), so
what has to be kept are weights, optimizer, schedule, and what the monitor remembers.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from expkit.backends.interface import Training

STATE, BEST = "checkpoint", "best.safetensors"  # in the folder of a run
UNFINISHED = f"{STATE}.unfinished"  # whole only in the moment before it gets its name
TENSORS, REST = "state.safetensors", "state.json"  # in its checkpoint


def changing_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All that training changes: trained parameters and buffers, each tied weight once."""
    state = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return {**state, **{n: b for n, b in model.named_buffers() if b.is_floating_point()}}


def save_weights(model: torch.nn.Module, file: Path) -> None:
    """Write what training changes; a file that is there is replaced as a whole or not at all."""
    weights = {n: t.detach().contiguous().cpu() for n, t in changing_weights(model).items()}
    unfinished = file.with_suffix(".unfinished")
    save_file(weights, unfinished)
    unfinished.replace(file)


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Put weights that `save_weights` wrote into the model."""
    state = changing_weights(model)
    with torch.no_grad():
        for name, tensor in load_file(file).items():
            state[name].copy_(tensor)


def save(training: Training, done: int, memory: Mapping[str, Any], folder: Path) -> None:
    """Replace the checkpoint of the run in `folder` by one after `done` optimizer steps.

    Args:
        memory: what else goes on from here, as JSON.
    """
    unfinished = folder / UNFINISHED
    if exists(folder) and not _is_whole(folder / STATE):
        unfinished.rename(folder / STATE)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    tensors = {f"model.{n}": t.detach() for n, t in changing_weights(training.model).items()}
    optimizer = training.optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    save_file({n: t.contiguous().cpu() for n, t in tensors.items()}, unfinished / TENSORS)
    rest = {
        "done": done,
        "optimizer": {"param_groups": optimizer["param_groups"], "numbers": numbers},
        "scheduler": _plain_state(training.scheduler.state_dict()),
        "memory": dict(memory),
    }
    last = unfinished / f"{REST}.unfinished"
    last.write_text(json.dumps(rest), encoding="utf-8")
    last.rename(unfinished / REST)
    shutil.rmtree(folder / STATE, ignore_errors=True)
    unfinished.replace(folder / STATE)


def exists(folder: Path) -> bool:
    """Whether the run in `folder` has a checkpoint."""
    return _is_whole(folder / STATE) or _is_whole(folder / UNFINISHED)


def _is_whole(state: Path) -> bool:
    """Its last file gets its name when all others have been written."""
    return (state / REST).is_file()


def remove(folder: Path) -> None:
    """Of a run that has come to its end."""
    for name in (STATE, UNFINISHED):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / BEST).unlink(missing_ok=True)


def restore(training: Training, folder: Path) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint into model, optimizer and schedule; returns steps done, and the memory."""
    # Killed after the old checkpoint was removed and before the new one got its name.
    state_folder = folder / STATE if _is_whole(folder / STATE) else folder / UNFINISHED
    rest = json.loads((state_folder / REST).read_text(encoding="utf-8"))
    tensors = load_file(state_folder / TENSORS)
    weights = changing_weights(training.model)
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in rest["optimizer"]["numbers"].items()
    }
    with torch.no_grad():
        for name, tensor in tensors.items():
            kind, _, key = name.partition(".")
            if kind == "model":
                weights[key].copy_(tensor)
            else:
                index, _, entry = key.partition(".")
                state.setdefault(int(index), {})[entry] = tensor
    groups = rest["optimizer"]["param_groups"]
    training.optimizer.load_state_dict({"state": state, "param_groups": groups})
    training.scheduler.load_state_dict(rest["scheduler"])
    return int(rest["done"]), rest["memory"]


def _plain_state(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers; the functions of a LambdaLR are made anew, and None means that they stay."""
    functions = {"lr_lambdas": [None] * len(scheduler.get("lr_lambdas", ()))}
    state = {key: value for key, value in scheduler.items() if _is_plain(value)}
    return {**state, **functions} if "lr_lambdas" in scheduler else state


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
