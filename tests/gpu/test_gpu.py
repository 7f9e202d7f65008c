"""What only a GPU shows."""

import pytest
import torch

from conftest import SMALL_TASKS, composed
from expkit.experiment import Prepared, prepare
from expkit.training import precision
from in_processes import each, fitted, together

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
FLOAT32 = "precision=fp32"


def trained(*overrides: str) -> tuple[Prepared, list[float]]:
    prepared = prepare(composed(*overrides))
    losses: list[float] = []
    prepared.backend.fit(prepared.training, lambda result: bool(losses.append(float(result.loss))))
    return prepared, losses


def test_auto_takes_bf16_where_the_gpu_has_it() -> None:
    fast = torch.cuda.is_bf16_supported(including_emulation=False)
    assert precision.has_fast_bf16() == fast


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("task", SMALL_TASKS)
@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_all_is_on_the_gpu_and_the_loss_falls(backend: str, task: str) -> None:
    options = (*SMALL_TASKS[task], f"backend={backend}", "precision=auto", "train.epochs=3")
    prepared, losses = trained(*options)
    model = prepared.training.model
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    states = prepared.training.optimizer.state.values()
    assert {state["exp_avg"].device.type for state in states} == {"cuda"}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("task", SMALL_TASKS)
def test_the_backends_agree(task: str) -> None:
    options = (*SMALL_TASKS[task], FLOAT32, "model.dropout=0", "train.max_steps=10")
    _, by_torch = trained(*options, "backend=torch")
    _, by_trainer = trained(*options, "backend=trainer")
    assert by_torch == pytest.approx(by_trainer, abs=1e-4)


@pytest.mark.usefixtures("project")
def test_batches_are_pinned() -> None:
    prepared = prepare(composed(*SMALL_TASKS["text_classification"]))
    batches = next(iter(prepared.training.steps.loader()))
    assert all(tensor.is_pinned() for batch in batches for tensor in batch.values())


@pytest.mark.usefixtures("project")
def test_attention_is_the_fused_one() -> None:
    prepared = prepare(composed(*SMALL_TASKS["text_classification"], "precision=auto"))
    assert prepared.training.model.config._attn_implementation == "sdpa"


def test_tf32_holds_for_as_long_as_it_was_asked_for() -> None:
    before = torch.get_float32_matmul_precision()
    with precision.matmul("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    with precision.matmul("fp32"):
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_two_gpus_are_one_with_twice_the_accumulation(
    backend: str, tmp_path_factory: pytest.TempPathFactory, project: object
) -> None:
    folder = tmp_path_factory.mktemp("two")
    (folder / "outputs").mkdir()
    options = ("text_classification", f"backend={backend}", FLOAT32, "model.dropout=0")
    two = together(2, each, folder, [(*options, "launch.processes=2")])[0][0]
    one = fitted(*options, "train.accumulation=2")
    assert two.losses == pytest.approx(one.losses, abs=1e-4)
    assert two.metrics == pytest.approx(one.metrics, abs=1e-4)
