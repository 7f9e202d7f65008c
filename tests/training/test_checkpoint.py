"""Training goes on from a checkpoint as if it had never stopped."""

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import SMALL_TASKS, composed
from expkit.backends.torch_loop import TorchLoop
from expkit.experiment import Prepared, prepare
from expkit.training import checkpoint
from expkit.training.interface import StepResult, Training

STEPS, STOP = 9, 4
OPTIMIZERS = {"adamw": "1e-3", "sgd": "1e-2"}


def prepared(*overrides: str) -> Prepared:
    return prepare(
        composed(
            *SMALL_TASKS["text_classification"],
            "precision=fp32",
            f"train.max_steps={STEPS}",
            "train.accumulation=2",
            *overrides,
        )
    )


def losses(run: Prepared, start: int = 0, stop: int | None = None) -> list[float]:
    found: list[float] = []

    def on_step(result: StepResult) -> bool:
        assert result.done == start + len(found) + 1
        found.append(float(result.loss))
        return result.done == stop

    run.backend.fit(replace(run.training, start=start), on_step)
    return found


@pytest.mark.parametrize("lora", ["none", "attention"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_losses_and_weights_are_those_of_an_undisturbed_run(
    backend: str, optimizer: str, lora: str, tmp_path: Path, project: Path
) -> None:
    options = (
        f"backend={backend}",
        f"optimizer={optimizer}",
        f"optimizer.lr={OPTIMIZERS[optimizer]}",
        f"lora={lora}",
        "model.dropout=0.1",
    )
    undisturbed = prepared(*options)
    expected = losses(undisturbed)
    cut_off = prepared(*options)
    assert losses(cut_off, stop=STOP) == expected[:STOP]
    checkpoint.save(cut_off.training, STOP, {"best": 0.5}, tmp_path, keep=1)

    resumed = prepared(*options)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.done, found.memory) == (STOP, {"best": 0.5})
    checkpoint.restore(resumed.training, found)
    checkpoint.restore_best(found, tmp_path)
    assert losses(resumed, start=found.done) == expected[STOP:]
    after = checkpoint.changing_weights(resumed.training.model)
    for name, weight in checkpoint.changing_weights(undisturbed.training.model).items():
        assert torch.equal(after[name], weight), name


@pytest.fixture(scope="module")
def small() -> Training:
    """A layer that has been trained for a step."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    unused: Any = None
    return Training(layer, unused, unused, optimizer, scheduler, "fp32", None, seed=1)


def save(training: Training, done: int, folder: Path, keep: int = 2) -> None:
    """With weights that tell the step."""
    torch.nn.init.constant_(training.model.weight, float(done))  # type: ignore[arg-type]
    checkpoint.save_weights(training.model, folder / checkpoint.BEST)
    checkpoint.save(training, done, {"step": done}, folder, keep)


def restored(training: Training, folder: Path) -> int | None:
    """The step of the newest checkpoint, after a look at all that it brings back."""
    found = checkpoint.newest(folder)
    if found is None:
        return None
    checkpoint.restore(training, found)
    checkpoint.restore_best(found, folder)
    assert (training.model.weight == float(found.done)).all()
    checkpoint.load_weights(training.model, folder / checkpoint.BEST)
    assert (training.model.weight == float(found.done)).all()
    assert found.memory == {"step": found.done}
    return found.done


def test_the_newest_ones_are_kept(small: Training, tmp_path: Path) -> None:
    assert not checkpoint.exists(tmp_path)
    assert restored(small, tmp_path) is None
    for step in (9, 10, 11):  # also those with more digits
        save(small, step, tmp_path)
    names = sorted(folder.name for folder in (tmp_path / checkpoint.FOLDER).iterdir())
    assert names == ["step-00000010", "step-00000011"]
    assert restored(small, tmp_path) == 11
    checkpoint.remove(tmp_path)
    assert not list(tmp_path.iterdir())


def test_sums_are_those_of_sha256sum(small: Training, tmp_path: Path) -> None:
    save(small, 1, tmp_path)
    folder = tmp_path / checkpoint.FOLDER / "step-00000001"
    done = subprocess.run(
        ["sha256sum", "-c", checkpoint.SUMS], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 3  # state, numbers, best weights


@pytest.mark.parametrize(
    "name", [checkpoint.TENSORS, checkpoint.REST, checkpoint.SUMS, checkpoint.BEST]
)
@pytest.mark.parametrize("kind", ["cut", "flipped", "gone", "empty"])
def test_a_damaged_one_is_reported_and_passed_over(
    name: str, kind: str, small: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        save(small, step, tmp_path)
    file = tmp_path / checkpoint.FOLDER / "step-00000002" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[:-9], "flipped": content, "empty": b""}
    if kind in damaged:
        file.write_bytes(damaged[kind])
    else:
        file.unlink()
    assert restored(small, tmp_path) == 1
    said = capsys.readouterr().out
    assert "step-00000002 is damaged" in said
    assert "taking an earlier one" in said


@pytest.mark.parametrize("keep", [1, 2])
def test_later_ones_that_are_damaged_do_not_push_out_whole_ones(
    keep: int, small: Training, tmp_path: Path
) -> None:
    for step in (8, 10, 12):
        save(small, step, tmp_path, keep=3)
    for name in ("step-00000010", "step-00000012"):
        (tmp_path / checkpoint.FOLDER / name / checkpoint.REST).write_text("{}")
    assert restored(small, tmp_path) == 8
    save(small, 9, tmp_path, keep)
    assert restored(small, tmp_path) == 9
    names = sorted(folder.name for folder in (tmp_path / checkpoint.FOLDER).iterdir())
    assert names == ["step-00000008", "step-00000009"][-keep:]


def test_if_all_are_damaged_it_is_said(
    small: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(small, 1, tmp_path)
    (tmp_path / checkpoint.FOLDER / "step-00000001" / checkpoint.REST).unlink()
    assert restored(small, tmp_path) is None
    assert "or starting anew" in capsys.readouterr().out


class Killed(BaseException):
    """Stands for the death of the process: nothing may catch it."""


# Everything by which a checkpoint changes what is on the disk.
TOUCHING = (
    (os, "replace"),
    (os, "fsync"),
    (shutil, "copyfile"),
    (os, "mkdir"),
    (os, "unlink"),
    (os, "rmdir"),
    (os, "open"),
    (io, "open"),
    (checkpoint, "save_file"),
)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_any_point_of_writing(
    before: bool, small: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a state from which nothing goes on, or from which it goes back more than one."""
    points = 0
    while True:
        folder = tmp_path / str(points)
        folder.mkdir()
        for step in (1, 2, 3):
            save(small, step, folder)
        with monkeypatch.context() as patch:
            left = [points]
            for module, name in TOUCHING:
                patch.setattr(module, name, dying(getattr(module, name), left, before))
            try:
                save(small, 4, folder)
            except Killed:
                pass
            else:
                break
        assert restored(small, folder) in (3, 4), f"killed at point {points}"
        save(small, 5, folder)
        assert restored(small, folder) == 5
        assert len(list((folder / checkpoint.FOLDER).iterdir())) == 2
        points += 1
    assert points > 20


def dying(function: Callable[..., Any], left: list[int], before: bool) -> Callable[..., Any]:
    """Works until the calls of all of them are used up."""

    def call(*arguments: Any, **options: Any) -> Any:
        if left[0] < 0:
            raise Killed  # nothing is done by a dead process, not even in `finally`
        left[0] -= 1
        if left[0] < 0 and before:
            raise Killed
        result = function(*arguments, **options)
        if left[0] < 0:
            if isinstance(result, io.IOBase):
                result.close()
            raise Killed
        return result

    return call


def test_a_loss_scale_goes_on(project: Path) -> None:
    training = replace(prepared("lora=none").training, precision="fp16")
    state = torch.amp.GradScaler("cpu", init_scale=8.0).state_dict()
    training.loss_scale.update(state)
    checkpoint.save(training, 0, {}, project, keep=1)
    training.loss_scale.clear()
    found = checkpoint.newest(project)
    assert found is not None
    checkpoint.restore(training, found)
    assert training.loss_scale == state
    TorchLoop().fit(training, lambda result: result.done == 2)
    assert training.loss_scale == {**state, "_growth_tracker": 2}
