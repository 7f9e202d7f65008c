"""Ctrl-C, SIGTERM, SIGHUP and their kin in the middle of a run, typed as a user does."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import TINY, Command, only_run

pytestmark = pytest.mark.slow

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
    output = process.communicate(timeout=600)[0]
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
    # Python tells two signals apart only when it has handled the first, which a busy machine delays.
    assert process.stdout
    assert any("stopping after this step" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    output = process.stdout.read()
    assert process.wait(600) == 130, output
    assert "eval/loss" not in output
    assert only_run(project).info.status == "KILLED"


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGTERM, ()),
        (signal.SIGHUP, ()),
        (signal.SIGUSR1, ()),
        (signal.SIGHUP, ("launch.processes=2",)),
        (signal.SIGUSR1, ("launch.processes=2",)),
    ],
)
def test_what_closes_a_terminal_or_a_job_of_a_cluster_is_as_ctrl_c(
    number: signal.Signals,
    options: tuple[str, ...],
    started: Callable[..., subprocess.Popen[str]],
    project: Path,
) -> None:
    process = started(*LONG, *options, "train.max_steps=1000000")
    for _ in range(2):  # once by the terminal itself and once by its shell, to all processes
        for member in [*psutil.Process(process.pid).children(recursive=True), process]:
            os.kill(member.pid, number)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 130, output
    assert "stopping after this step" in output
    assert "Traceback" not in output
    run = only_run(project)
    assert run.info.status == "KILLED"
    (newest,) = sorted((project / "outputs/runs").glob("*/checkpoints/step-*"))[-1:]
    assert newest.name == f"step-{steps(project, run)[-1]:08d}"


def test_a_signal_that_is_ignored_from_the_start_stays_so(
    project: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = started(*LONG, "launch.processes=2")
    finally:
        signal.signal(signal.SIGHUP, before)
    for member in [*psutil.Process(process.pid).children(recursive=True), process]:
        os.kill(member.pid, signal.SIGHUP)
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    assert only_run(project).info.status == "FINISHED"
