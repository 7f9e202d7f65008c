"""Checkpoints: folders with the training state, from which a run resumes as if it had never stopped.

A checkpoint has the weights, the best weights, optimizer, schedule, loss scale, and the memory of the
monitor. Batches and random numbers need not be saved, as they are functions of the seed and the step
(data/steps.py, randomness.py). A checkpoint gets its name when all of it is on disk. Its SHA256SUMS,
which `sha256sum -c` understands, shows later whether it has been damaged.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from expkit.config.fingerprint import digest_of_content
from expkit.config.project import COMMON
from expkit.processes.group import from_main
from expkit.processes.ranks import is_main
from expkit.terminal.display import say
from expkit.training.interface import Training
from expkit.training.sharding import as_part_of, full, is_sharded, unsharded

FOLDER, BEST = "checkpoints", "best.safetensors"  # in the folder of a run; BEST in a checkpoint too
TENSORS, REST, SUMS = "state.safetensors", "state.json", "SHA256SUMS"  # in a checkpoint
UNFINISHED = ".unfinished"  # the suffix of files and folders that are being written or removed


@dataclass(frozen=True)
class SavedState:
    """An undamaged checkpoint, written after `done` optimizer steps."""

    folder: Path
    done: int
    rest: dict[str, Any]  # the part of the state that is not tensors
    memory: dict[str, Any]  # as it was given to `save`


def changing_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All tensors that training changes: trained parameters and buffers, and each tied weight once."""
    state = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return {**state, **{n: b for n, b in model.named_buffers() if b.is_floating_point()}}


def save_weights(model: torch.nn.Module, file: Path) -> None:
    """Write the tensors that training changes. An existing file is replaced atomically."""
    weights = {n: t.detach().contiguous().cpu() for n, t in changing_weights(model).items()}
    unfinished = file.with_suffix(UNFINISHED)
    save_file(weights, unfinished)
    _sync(unfinished)
    unfinished.replace(file)


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Put weights that `save_weights` wrote into the model."""
    state = changing_weights(model)
    with torch.no_grad():
        for name, tensor in load_file(file).items():
            state[name].copy_(as_part_of(tensor, state[name]))


def save(
    training: Training, done: int, memory: Mapping[str, Any], run_folder: Path, keep: int = 0
) -> None:
    """Write a checkpoint after `done` optimizer steps, then remove all but the newest `keep`.

    All processes have to call this, and the main one writes.

    Args:
        memory: values that a resumed run needs besides the state of training, as JSON.
        keep: 0 stands for the only one in COMMON, which stays when the run has finished.
    """
    if not is_main() and not is_sharded(training.model):
        return
    tensors, rest = _state(training, done)
    if not is_main():
        return
    checkpoints = run_folder / (FOLDER if keep else COMMON)
    checkpoints.mkdir(exist_ok=True)
    for left in checkpoints.glob(f"*{UNFINISHED}"):
        shutil.rmtree(left)
    target = checkpoints / f"step-{done:08d}"  # so the order of names is the order of steps
    unfinished = target.with_suffix(UNFINISHED)
    unfinished.mkdir()
    save_file(tensors, unfinished / TENSORS)
    rest = {"done": done, **rest, "memory": dict(memory)}
    (unfinished / REST).write_text(json.dumps(rest), encoding="utf-8")
    if (run_folder / BEST).exists():
        # A copy, because with links one damaged block would be in all checkpoints at once.
        shutil.copyfile(run_folder / BEST, unfinished / BEST)
    _seal(unfinished)
    # Checkpoints of this step or later must be damaged, since training resumed from an earlier one.
    for damaged in [folder for folder in _all(checkpoints) if folder >= target]:
        _remove(damaged)
    unfinished.replace(target)
    _sync(checkpoints)
    for superfluous in _all(checkpoints)[: -(keep or 1)]:
        _remove(superfluous)


def newest(run_folder: Path) -> SavedState | None:
    """The newest undamaged checkpoint of a run. Damaged ones are reported and skipped.

    All processes have to call this, and get what the main one finds.
    """
    return from_main(lambda: newest_in(run_folder / FOLDER))


def newest_in(checkpoints: Path) -> SavedState | None:
    """The same, for the main process alone and any folder of checkpoints."""
    for folder in reversed(_all(checkpoints)):
        if (what := damage(folder)) is None:
            rest = json.loads((folder / REST).read_text(encoding="utf-8"))
            return SavedState(folder, int(rest["done"]), rest, rest["memory"])
        say(f"checkpoint {folder} is damaged ({what}); taking an earlier one, or starting anew")
    return None


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        files = {name: digest for digest, name in (line.split("  ", 1) for line in sums)}
        if not {TENSORS, REST} <= files.keys():
            return f"{SUMS} is incomplete"
        for name, expected in files.items():
            if digest_of_content(folder / Path(name).name) != expected:
                return f"{name} is not what was written"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def exists(run_folder: Path, name: str = FOLDER) -> bool:
    """Whether a run has checkpoints, damaged ones included."""
    return bool(_all(run_folder / name))


def remove(run_folder: Path) -> None:
    """Remove the checkpoints of a run that has ended, in the main process."""
    if not is_main():
        return
    shutil.rmtree(run_folder / FOLDER, ignore_errors=True)
    (run_folder / BEST).unlink(missing_ok=True)


def restore(training: Training, found: SavedState) -> None:
    """Load a checkpoint into model, optimizer, schedule and loss scale."""
    tensors = load_file(found.folder / TENSORS)
    weights = changing_weights(training.model)
    parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in found.rest["optimizer"]["numbers"].items()
    }
    with torch.no_grad():
        for name, tensor in tensors.items():
            kind, _, key = name.partition(".")
            if kind == "model":
                weights[key].copy_(as_part_of(tensor, weights[key]))
            else:
                index, _, entry = key.partition(".")
                own = as_part_of(tensor, parameters[int(index)])
                state.setdefault(int(index), {})[entry] = own
    groups = found.rest["optimizer"]["param_groups"]
    for _ in range(found.rest["scheduler"]["last_epoch"]):
        training.scheduler.step()
    training.optimizer.load_state_dict({"state": state, "param_groups": groups})
    training.loss_scale.update(found.rest["loss_scale"])


def restore_best(found: SavedState, run_folder: Path) -> None:
    """Put the best weights of a checkpoint back into the folder of the run, in the main process."""
    if not is_main():
        return
    (run_folder / BEST).unlink(missing_ok=True)  # it may be from a later step
    if (found.folder / BEST).exists():
        shutil.copyfile(found.folder / BEST, run_folder / BEST)


def _state(training: Training, done: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors, moved to the CPU, and the rest of the state as JSON."""
    must_copy = is_sharded(training.model)  # the gathered weights are freed after the block
    with unsharded(training.model):
        weights = changing_weights(training.model).items()
        tensors = {
            f"model.{n}": t.detach().to("cpu", copy=must_copy) for n, t in weights if is_main()
        }
    optimizer = training.optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                gathered = full(value)  # one at a time, as all of them may not fit
                if is_main():
                    tensors[f"optimizer.{index}.{name}"] = gathered.contiguous().cpu()
            else:
                numbers.setdefault(str(index), {})[name] = value
    return {n: t.contiguous() for n, t in tensors.items()}, {
        "optimizer": {"param_groups": optimizer["param_groups"], "numbers": numbers},
        # A longer run has another schedule, so nothing more of it is kept. In fp16 it may skip steps.
        "scheduler": {"last_epoch": getattr(training.scheduler, "last_epoch", done)},
        "loss_scale": training.loss_scale,
    }


def _seal(folder: Path) -> None:
    """Write the checksums of all files, and wait until everything is on disk."""
    files = sorted(folder.iterdir())
    lines = [f"{digest_of_content(file)}  {file.name}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    for path in (*files, folder / SUMS, folder):
        _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file, or the list of files in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _all(checkpoints: Path) -> list[Path]:
    """All finished checkpoints, the newest one last."""
    return sorted(path for path in checkpoints.glob("step-*") if path.suffix != UNFINISHED)


def _remove(folder: Path) -> None:
    """Rename a checkpoint before removing it, so that a half-removed one is not reported as damaged."""
    gone = folder.with_suffix(f".removed{UNFINISHED}")
    folder.replace(gone)
    shutil.rmtree(gone)
