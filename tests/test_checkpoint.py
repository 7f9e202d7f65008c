"""Training goes on from a checkpoint as if it had never stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import SMALL_TASKS, composed
from expkit import checkpoint
from expkit.backends.interface import StepResult
from expkit.experiment import Prepared, prepare

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
    checkpoint.save(cut_off.training, STOP, {"best": 0.5}, tmp_path)

    resumed = prepared(*options)
    done, memory = checkpoint.restore(resumed.training, tmp_path)
    assert (done, memory) == (STOP, {"best": 0.5})
    assert losses(resumed, start=done) == expected[STOP:]
    after = checkpoint.changing_weights(resumed.training.model)
    for name, weight in checkpoint.changing_weights(undisturbed.training.model).items():
        assert torch.equal(after[name], weight), name


def test_a_run_without_checkpoint_has_none(tmp_path: Path) -> None:
    assert not checkpoint.exists(tmp_path)
    run = prepared()
    checkpoint.save(run.training, 1, {}, tmp_path)
    assert checkpoint.exists(tmp_path)
    checkpoint.save_weights(run.training.model, tmp_path / checkpoint.BEST)
    checkpoint.remove(tmp_path)
    assert not list(tmp_path.iterdir())
