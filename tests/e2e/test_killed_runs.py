"""A run that is killed at any step goes on as if nothing had been, to the last bit."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from conftest import SMALL_RUNS, SMALL_TASKS, composed
from expkit.tracking.outbox import FILE, read

pytestmark = pytest.mark.slow

STEPS = 12
OPTIONS = (
    "lora=attention",
    "lora.dropout=0.1",
    "train.accumulation=2",
    "train.group_by_length=true",
    f"train.max_steps={STEPS}",
    "train.eval_every=5",
    "train.log_every=1",
    "checkpoint.every_steps=2",
    "tracking.log_model=false",
    "precision=fp32",
)
PRELOADED = ["expkit.experiment", "expkit.tasks.translation", "expkit.tasks.text_classification"]
KILLS_OF_CHAOS = 13  # for each task and backend: 104 in all

Metrics = dict[str, list[tuple[int, str]]]
Result = tuple[Metrics, dict[str, torch.Tensor]]

# Processes are forked from one that has imported everything: a run takes a second instead of ten.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


def train(project: Path, overrides: tuple[str, ...]) -> None:
    """In a process of its own: one run."""
    os.chdir(project)
    torch.set_num_threads(1)
    from expkit.experiment import run

    run(composed(*overrides), {})


def started(project: Path, overrides: tuple[str, ...]) -> BaseProcess:
    (project / "outputs").mkdir(exist_ok=True)
    process = context.Process(target=train, args=(project, overrides))
    process.start()
    return process


def finished(project: Path, overrides: tuple[str, ...]) -> Result:
    """Run to the end, from where an earlier process was killed; all metrics, and the weights."""
    process = started(project, (*overrides, "resume=auto"))
    process.join(900)
    assert process.exitcode == 0
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    metrics = {
        name: [(m.step, str(m.value)) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if name != "train/samples_per_second"
    }
    folder = project / "outputs" / "runs" / run.info.run_id
    return metrics, load_file(folder / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """What comes out if nothing happens, made once for each configuration."""
    results: dict[tuple[str, ...], Result] = {}

    def result(overrides: tuple[str, ...]) -> Result:
        if overrides not in results:
            results[overrides] = finished(tmp_path_factory.mktemp("undisturbed"), overrides)
        return results[overrides]

    return result


def killed_at(step: int, project: Path, overrides: tuple[str, ...]) -> None:
    """Kill it when that step has been logged, or a moment later."""
    process = started(project, overrides)
    outbox: list[Path] = []
    while steps_logged(outbox) < step:
        assert process.is_alive()
        time.sleep(0.002)
        outbox = list(project.glob(f"outputs/runs/*/{FILE}"))
    time.sleep(random.uniform(0.0, 0.05))
    os.kill(int(process.pid or 0), signal.SIGKILL)
    process.join()


def steps_logged(outbox: list[Path]) -> int:
    values: list[Any] = [
        value for file in outbox for entry in read(file) for value in entry.get("values", ())
    ]
    return max((value[3] for value in values if value[0] == "train/loss"), default=0)


def same_after_a_kill(
    task: str, backend: str, undisturbed: Callable[..., Result], project: Path
) -> None:
    overrides = (*SMALL_RUNS[task], *OPTIONS, f"backend={backend}")
    metrics, weights = undisturbed(overrides)
    assert [step for step, _ in metrics["train/loss"]] == list(range(1, STEPS + 1))
    assert [step for step, _ in metrics["eval/loss"]] == [5, 10, 12]
    step = random.randint(1, STEPS)
    print(f"killed at step {step}")
    killed_at(step, project, overrides)
    metrics_again, weights_again = finished(project, overrides)
    assert metrics_again == metrics
    assert weights_again.keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.equal(weights_again[name], weight), name


@pytest.mark.parametrize("backend", ["torch", "trainer"])
@pytest.mark.parametrize("task", SMALL_RUNS)
def test_killed_at_a_random_step(
    task: str, backend: str, undisturbed: Callable[..., Result], project: Path
) -> None:
    same_after_a_kill(task, backend, undisturbed, project)


@pytest.mark.chaos
@pytest.mark.parametrize("backend", ["torch", "trainer"])
@pytest.mark.parametrize("task", SMALL_TASKS)
@pytest.mark.parametrize("kill", range(KILLS_OF_CHAOS))
def test_killed_at_many_random_steps(
    kill: int, task: str, backend: str, undisturbed: Callable[..., Result], project: Path
) -> None:
    same_after_a_kill(task, backend, undisturbed, project)
