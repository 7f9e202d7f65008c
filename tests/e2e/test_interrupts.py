"""Ctrl-C, SIGTERM and kill -9 in the middle of a run, typed as a user does."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import TINY, Command, only_run

STEPS = 800  # some seconds
LONG = (*TINY, f"train.max_steps={STEPS}", "train.eval_every=400", "checkpoint.every_steps=50")
LONG += ("tracking.log_model=false",)


def steps(project: Path, run: Run) -> list[int]:
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    return [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")]


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_the_step_is_finished_and_kept_and_goes_on(
    backend: str, started: Callable[..., subprocess.Popen[str]], expkit: Command, project: Path
) -> None:
    process = started(*LONG, f"backend={backend}")
    process.send_signal(signal.SIGINT if backend == "torch" else signal.SIGUSR2)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "stopping after this step" in output
    assert "Traceback" not in output
    run = only_run(project)
    assert run.info.status == "KILLED"
    assert f"resume=auto or resume={run.info.run_id}" in output
    (newest,) = sorted((project / "outputs/runs").glob("*/checkpoints/step-*"))[-1:]
    done = int(newest.name.removeprefix("step-"))
    assert steps(project, run) == list(range(1, done + 1))

    # What decides the result must be the same.
    resume = f"resume={run.info.run_id[:12]}"
    refused = expkit(*LONG, f"backend={backend}", "seed=7", "eval.batch_size=5", resume)
    assert refused.returncode == 2
    assert "seed: 42 then, 7 now" in refused.stderr
    assert "eval.batch_size: 64 then, 5 now" in refused.stderr
    assert "Traceback" not in refused.stderr

    gone_on = expkit(*LONG, f"backend={backend}", resume)
    assert gone_on.returncode == 0, gone_on.stderr
    assert f"goes on after step {done} of {STEPS}" in gone_on.stdout
    run = only_run(project)
    assert run.info.status == "FINISHED"
    assert steps(project, run) == list(range(1, STEPS + 1))
    again = expkit(*LONG, f"backend={backend}", resume)
    assert again.returncode == 1
    assert "has finished" in again.stderr


def test_a_second_signal_stops_at_once(
    started: Callable[..., subprocess.Popen[str]], project: Path
) -> None:
    # The second step is followed by an evaluation of some ten seconds.
    long = ("eval.batch_size=1", "train.eval_every=2", "data.sizes.validation=5000")
    process = started(*LONG, *long, "checkpoint.every_steps=1")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "eval/loss" not in output
    assert only_run(project).info.status == "KILLED"
