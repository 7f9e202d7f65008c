"""Both backends carry out the same steps: equal losses, equal weights."""

from collections.abc import Iterator

import pytest
import torch

from conftest import SMALL_TASKS, TINY, composed
from expkit.experiment import Prepared, prepare
from expkit.training.interface import StepResult

STEPS = 30
OPTIMIZERS = {"adam": "1e-3", "adamw": "1e-3", "sgd": "1e-2"}


def fitted(
    *overrides: str, task: str = "text_classification", steps: int = STEPS
) -> tuple[Prepared, list[float], list[float]]:
    """A trained run, its loss and gradient norm for each step."""
    limits = (f"train.max_steps={steps}",)
    cfg = composed(*SMALL_TASKS[task], *limits, *overrides)
    prepared = prepare(cfg)
    losses: list[float] = []
    norms: list[float] = []

    def on_step(result: StepResult) -> bool:
        losses.append(float(result.loss))
        norms.append(float(result.grad_norm))
        return False

    prepared.backend.fit(prepared.training, on_step)
    return prepared, losses, norms


def weights(prepared: Prepared) -> Iterator[tuple[str, torch.Tensor]]:
    """Trained weights by name."""
    return ((n, p) for n, p in prepared.training.model.named_parameters() if p.requires_grad)


def assert_same_weights(one: Prepared, other: Prepared, tolerance: float) -> None:
    others = dict(weights(other))
    for name, weight in weights(one):
        torch.testing.assert_close(
            weight, others[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("lora", ["none", "attention"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("accumulation", [1, 4])
def test_losses_and_weights_are_equal(optimizer: str, accumulation: int, lora: str) -> None:
    overrides = (
        f"optimizer={optimizer}",
        f"optimizer.lr={OPTIMIZERS[optimizer]}",
        f"train.accumulation={accumulation}",
        "train.max_grad_norm=0.02",
        f"lora={lora}",
    )
    torch_run, torch_losses, torch_norms = fitted("backend=torch", *overrides)
    trainer_run, trainer_losses, trainer_norms = fitted("backend=trainer", *overrides)
    assert len(torch_losses) == len(trainer_losses) == STEPS
    assert torch_losses == pytest.approx(trainer_losses, abs=1e-6)
    assert torch_norms == pytest.approx(trainer_norms, abs=1e-5)
    assert max(torch_norms) > 0.02, "clipping never took place"
    assert_same_weights(torch_run, trainer_run, 1e-6)


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_training_changes_the_weights_and_lowers_the_loss(backend: str) -> None:
    before = {n: w.detach().clone() for n, w in weights(prepare(composed(*TINY, "lora=none")))}
    prepared, losses, _ = fitted(f"backend={backend}", "lora=none", "train.epochs=1")
    changed = [n for n, w in weights(prepared) if not torch.equal(w, before[n])]
    assert len(changed) == len(before)
    assert sum(losses[-8:]) < sum(losses[:8])


@pytest.mark.parametrize("lora", ["none", "attention"])
@pytest.mark.parametrize("task", [name for name in SMALL_TASKS if name != "text_classification"])
def test_other_tasks_are_equal_too(task: str, lora: str) -> None:
    overrides = ("train.accumulation=3", "train.max_grad_norm=0.1", f"lora={lora}")
    torch_run, torch_losses, _ = fitted("backend=torch", *overrides, task=task)
    trainer_run, trainer_losses, _ = fitted("backend=trainer", *overrides, task=task)
    assert len(torch_losses) == STEPS
    assert torch_losses == pytest.approx(trainer_losses, abs=1e-6)
    assert_same_weights(torch_run, trainer_run, 1e-6)


@pytest.mark.parametrize("task", SMALL_TASKS)
@pytest.mark.parametrize("backend", ["torch", "trainer"])
@pytest.mark.parametrize("size", [pytest.param(64, marks=pytest.mark.slow), 56])
def test_micro_batches_give_the_update_of_one_large_batch(
    backend: str, size: int, task: str
) -> None:
    """56 examples in batches of 4 are 14 micro-batches: the last group of 4 is short.

    In double precision, or rounding would hide an error of 1e-6 of the update.
    """
    common = (
        f"backend={backend}",
        "lora=none",
        "model.dropout=0",
        "optimizer=sgd",
        "optimizer.lr=1e-2",
        "train.group_by_length=false",
        f"data.sizes.train={size}",
    )
    small = updates(*common, "train.batch_size=4", "train.accumulation=4", task=task)
    large = updates(*common, "train.batch_size=16", "train.accumulation=1", task=task)
    assert float(large.norm()) > 0
    assert float((small - large).norm() / large.norm()) < 1e-6


def updates(*overrides: str, task: str) -> torch.Tensor:
    """By how much each weight has changed after 8 steps in double precision."""
    prepared = prepare(
        composed(*SMALL_TASKS[task], "precision=fp32", "train.max_steps=8", *overrides)
    )
    prepared.training.model.double()
    before = torch.cat([w.detach().flatten() for _, w in weights(prepared)])
    prepared.backend.fit(prepared.training, lambda result: False)
    return torch.cat([w.detach().flatten() for _, w in weights(prepared)]) - before


def test_backends_agree_in_bf16() -> None:
    """What `precision=auto` chooses on a CPU with AMX; a CPU without it computes the same, slowly."""
    _, torch_losses, _ = fitted("backend=torch", "precision=bf16", "lora=attention", steps=5)
    _, trainer_losses, _ = fitted("backend=trainer", "precision=bf16", "lora=attention", steps=5)
    assert torch_losses == pytest.approx(trainer_losses, abs=1e-6)


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_a_model_is_left_as_it_was_found_and_can_be_trained_once_more(backend: str) -> None:
    """Accelerate's mark on it would mean that mixed precision is left out the second time."""
    prepared, _, _ = fitted(f"backend={backend}", "precision=bf16", "model.dropout=0", steps=3)
    model = prepared.training.model
    assert not {"forward", "_is_accelerate_prepared"} & set(vars(model))
    dtypes: set[torch.dtype] = set()
    layer = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    layer.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    prepared.backend.fit(prepared.training, lambda result: False)
    assert dtypes == {torch.bfloat16}
