"""Memory does not grow with the steps, nor with the records that are predicted."""

import json
import multiprocessing
import os
import resource
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
FEW, MANY, MORE = 5_000, 50_000, 40.0  # records, and MiB that many of them may take more

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


def memory(project: Path, steps: int, backend: str, log_model: str = "false") -> list[int]:
    overrides = (*TINY, f"backend={backend}", f"train.max_steps={steps}", "train.eval_every=500")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (project, (*overrides, f"tracking.log_model={log_model}"), sender)
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


def predicted(project: Path, run: str, count: int, used: Connection) -> None:
    """In a process of its own: predict so many records, and tell the peak of memory in MiB."""
    os.chdir(project)
    torch.set_num_threads(1)
    from expkit.commands.predict import parser
    from expkit.commands.predict import run as predict

    options = [run, "--file", f"{count}.jsonl", "--out", f"{count}-out.parquet", "--probabilities"]
    predict(parser().parse_args(options))
    used.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def test_of_ten_times_the_records(project: Path) -> None:
    memory(project, EVERY, "torch", "true")
    (run,) = (path.name for path in (project / "outputs" / "runs").iterdir())
    peaks = []
    for count in (FEW, MANY):
        texts = (" ".join(["word"] * (1 + i % 40)) for i in range(count))
        lines = (json.dumps({"sentence1": text, "sentence2": "it"}) for text in texts)
        (project / f"{count}.jsonl").write_text("\n".join(lines))
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=predicted, args=(project, run, count, sender))
        process.start()
        process.join(500)
        assert process.exitcode == 0
        peaks.append(receiver.recv())
    assert peaks[1] - peaks[0] < MORE, peaks
