"""Two processes do what one does with twice the accumulation."""

from pathlib import Path

import pytest
import torch

from conftest import SMALL_TASKS
from in_processes import TASKS, Fitted, each, each_resumed, fitted, together

BACKENDS = ("torch", "trainer")
CONTINUOUS = (  # of logits, so that rounding shows
    *("loss", "perplexity", "ece", "map"),
    *("pearson", "spearman", "mse", "mae", "r2"),
)
# Seven micro-batches in steps of four and of two: in each epoch one process gets less, or nothing.
Work = tuple[str, str, str, int, str]
WORKS: list[Work] = [
    *((task, backend, "none", 2, "ddp") for task in TASKS for backend in BACKENDS),
    *(("text_classification", backend, "attention", 1, "ddp") for backend in BACKENDS),
    *((task, "torch", "none", 2, "fsdp") for task in SMALL_TASKS),
    ("text_classification", "trainer", "attention", 1, "fsdp"),
    ("translation", "trainer", "none", 2, "fsdp"),
]


def overrides(work: Work, processes: int) -> tuple[str, ...]:
    """The same training in so many processes."""
    task, backend, lora, accumulation, kind = work
    return (
        task,
        f"backend={backend}",
        f"lora={lora}",
        "train.epochs=2",
        "train.max_grad_norm=0.5",
        f"launch.processes={processes}",
        f"launch.fsdp={str(kind == 'fsdp').lower()}",
        f"train.accumulation={accumulation * 2 // processes}",
    )


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Fitted]]:
    """What each of two processes has seen."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "outputs").mkdir()
    return together(2, each, folder, [overrides(work, 2) for work in WORKS])


@pytest.mark.parametrize("work", WORKS, ids=lambda work: "-".join(map(str, work)))
def test_two_processes_are_one_with_twice_the_accumulation(
    work: Work, of_two: dict[int, list[Fitted]], project: Path
) -> None:
    one = fitted(*overrides(work, 1))
    for seen in of_two.values():
        two = seen[WORKS.index(work)]
        assert two.losses == pytest.approx(one.losses, abs=1e-6)
        assert two.norms == pytest.approx(one.norms, rel=1e-5)
        assert two.examples == one.examples
        assert work[0] == "masked_lm" or sum(two.examples) == 2 * 56
        assert two.metrics == pytest.approx(one.metrics, rel=1e-5)
        assert {n: v for n, v in two.metrics.items() if n not in CONTINUOUS} == {
            n: v for n, v in one.metrics.items() if n not in CONTINUOUS
        }
        for name, weight in two.weights.items():
            torch.testing.assert_close(weight, one.weights[name], rtol=0, atol=1e-5)


def test_parts_of_a_model_are_kept_whole_and_go_on(project: Path) -> None:
    """With FSDP a checkpoint is that of one process; so it may go on in any number of them."""
    works: list[Work] = [
        ("text_classification", "torch", "none", 2, "fsdp"),
        ("masked_lm", "trainer", "none", 2, "fsdp"),
    ]
    seen = together(2, each_resumed, project, [overrides(work, 2) for work in works])
    for losses in seen.values():
        for work, of_two in zip(works, losses, strict=True):
            assert of_two == pytest.approx(fitted(*overrides(work, 1)).losses, abs=1e-5)
