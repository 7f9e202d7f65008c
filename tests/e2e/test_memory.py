"""Memory does not grow with the steps."""

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest
import torch

from conftest import TINY, composed
from expkit.training.interface import OnStep, StepResult, Training

pytestmark = pytest.mark.slow

EVERY = 500  # steps
GROWTH = 0.03

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["expkit.experiment"])


def watched_run(project: Path, overrides: tuple[str, ...], used: Connection) -> None:
    """In a process of its own: one run that tells its memory, in bytes, every 500 steps."""
    os.chdir(project)
    torch.set_num_threads(1)
    from expkit import experiment
    from expkit.backends.hf_trainer import HFTrainer
    from expkit.backends.torch_loop import TorchLoop

    def watch(backend: type[TorchLoop] | type[HFTrainer]) -> None:
        fit = backend.fit

        def watched(self: object, training: Training, on_step: OnStep) -> None:
            def after(result: StepResult) -> bool:
                is_over = on_step(result)
                if result.done % EVERY == 0:
                    used.send(psutil.Process().memory_info().rss)
                return is_over

            fit(self, training, after)  # type: ignore[arg-type]

        backend.fit = watched  # type: ignore[method-assign]

    watch(TorchLoop)
    watch(HFTrainer)
    experiment.run(composed(*overrides), {})


def memory(project: Path, steps: int, backend: str) -> list[int]:
    overrides = (*TINY, f"backend={backend}", f"train.max_steps={steps}", "train.eval_every=500")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (project, (*overrides, "tracking.log_model=false"), sender)
    process = context.Process(target=watched_run, args=arguments)
    process.start()
    sender.close()
    process.join(500)
    assert process.exitcode == 0
    return [int(receiver.recv()) for _ in range(steps // EVERY)]


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_of_the_last_step(backend: str, project: Path) -> None:
    used = memory(project, 2000, backend)
    assert used[-1] < (1 + GROWTH) * used[0], used


@pytest.mark.chaos
@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_of_ten_thousand_steps(backend: str, project: Path) -> None:
    used = memory(project, 10_000, backend)
    assert used[-1] < (1 + GROWTH) * used[0], used
