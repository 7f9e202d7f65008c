"""One run in several processes, typed as a user does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import CHECKOUT, SMALL_TASKS, TINY, Command, only_run

pytestmark = pytest.mark.slow

Started = Callable[..., subprocess.Popen[str]]

LONG = (*TINY, "train.max_steps=300", "train.eval_every=150", "checkpoint.every_steps=25")
LONG += ("tracking.log_model=false",)
JOB = (*TINY, "train.max_steps=3", "tracking.log_model=false")


def history(project: Path, run: Run, metric: str) -> list[tuple[int, float]]:
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1"}


def members(project: Path) -> list[psutil.Process]:
    """The two processes; the main one, whose number stands in the run, first."""
    main = psutil.Process(int(only_run(project).data.tags["mlflow.expkit.pid"]))
    parent = main.parent()
    assert parent is not None
    (other,) = [child for child in parent.children() if child != main]
    return [main, other]


@pytest.mark.parametrize(
    ("victim", "options"),
    [
        (0, ("launch.processes=2",)),
        (1, ("launch.processes=1", "train.accumulation=2")),
    ],
)
def test_a_process_that_is_killed_fails_the_run_and_it_goes_on(
    victim: int, options: tuple[str, ...], started: Started, expkit: Command, project: Path
) -> None:
    process = started(*LONG, "launch.processes=2")
    members(project)[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    output = process.communicate(timeout=600)[0]
    assert time.monotonic() - killed < 60
    assert process.returncode == 1, output
    assert f"process {victim} of 2 (counted from 0) has died of SIGKILL" in output
    assert output.count("Traceback") <= 1, output
    run = only_run(project)
    assert run.info.status == "FAILED"
    assert "SIGKILL" in run.data.tags["expkit.error"]
    done = expkit(*LONG, *options, "resume=auto")
    assert done.returncode == 0, done.stderr
    assert "goes on after step" in done.stdout
    again = only_run(project)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert [step for step, _ in history(project, again, "train/loss")] == list(range(1, 301))


def test_a_launcher_that_is_killed_leaves_nobody_behind(started: Started, project: Path) -> None:
    process = started(*LONG, "launch.processes=2")
    left = members(project)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(left, timeout=600)
    assert not alive
    assert only_run(project).info.status == "KILLED"


def test_another_number_of_processes_that_changes_the_result_is_refused(
    started: Started, expkit: Command, project: Path
) -> None:
    process = started(*LONG, "launch.processes=2")
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 130, output
    assert output.count("stopping after this step") == 1
    assert "Traceback" not in output
    run = only_run(project)
    assert run.info.status == "KILLED"
    refused = expkit(*LONG, "launch.processes=1", f"resume={run.info.run_id}")
    assert refused.returncode == 2
    assert "train.accumulation x launch.processes: 2 then, 1 now" in refused.stderr
    assert "Traceback" not in refused.stderr


UNLUCKY = """
import os
import torch

class Optimizer(torch.optim.SGD):
    def step(self, closure=None):
        if os.environ["RANK"] == "1":
            raise ValueError("bad luck")
        return super().step(closure)
"""


def test_the_run_says_why_another_process_has_failed(expkit: Command, project: Path) -> None:
    (project / "unlucky.py").write_text(UNLUCKY)
    options = ("optimizer=sgd", "optimizer._target_=unlucky.Optimizer", "trusted_modules=[unlucky]")
    done = expkit(*JOB, *options, "launch.processes=2")
    assert done.returncode == 1
    why = "process 1 (counted from 0) has failed: ValueError: bad luck"
    assert done.stderr.count(f"expkit: {why}") == 1, done.stderr
    run = only_run(project)
    assert (run.info.status, run.data.tags["expkit.error"]) == ("FAILED", why)
    trace = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/traceback.txt")
    assert 'raise ValueError("bad luck")' in trace


@pytest.mark.parametrize("by", ["torchrun", "launch.processes"])
def test_one_run_one_output(by: str, project: Path) -> None:
    options = (
        "lora=attention",
        *SMALL_TASKS["translation"],
        "train.max_steps=4",
        "backend=trainer",
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = {
        "torchrun": [*torchrun, "-m", "expkit", *options],
        "launch.processes": [sys.executable, "-m", "expkit", *options, "launch.processes=2"],
    }
    done = subprocess.run(
        command[by], cwd=project, env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for line in ("model: ", "lora/merge", "predict  ", "  step 4/4  eval/"):
        assert done.stdout.count(line) <= 1, done.stdout
    assert done.stdout.count("trained parameters") == 1
    run = only_run(project)
    assert run.info.status == "FINISHED"
    assert run.data.params["launch.processes"] == "2"
    assert [step for step, _ in history(project, run, "train/loss")] == [1, 2, 3, 4]
    assert len(list((project / "outputs" / "runs").iterdir())) == 1


def test_what_is_wrong_is_said_once(project: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for options, message in {
        ("optimizer.lrr=1",): "optimizer.lrr: no such key",
        ("-m", "seed=1,2"): "launch.processes=2 starts them for each job",
        ("launch.processes=3",): "launch.processes=3: 2 were started already",
    }.items():
        done = subprocess.run(
            [*torchrun, "-m", "expkit", *options],
            cwd=project,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 1
        ours = [line for line in done.stderr.splitlines() if line.startswith("expkit: ")]
        assert len(ours) == 1, done.stderr
        assert message in ours[0]


@pytest.mark.parametrize("launcher", ["basic", "joblib", "ray"])
def test_a_sweep_of_runs_in_two_processes(
    launcher: str, expkit: Command, python: Command, project: Path
) -> None:
    done = (python if launcher == "joblib" else expkit)(
        "-m",
        "optimizer=adamw,sgd",
        "seed=1,2",
        "launch.processes=2",
        f"hydra/launcher={launcher}",
        *JOB,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [run for run in found if run.data.tags.get("mlflow.expkit.kind") == "sweep"]
    jobs = [run for run in found if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in jobs} == {parent.info.run_id}
    assert {(r.data.params["optimizer._target_"], r.data.params["seed"]) for r in jobs} == {
        (kind, seed) for kind in ("AdamW", "SGD") for seed in ("1", "2")
    }
    assert {run.info.status for run in found} == {"FINISHED"}
    folders = {path.name for path in (project / "outputs" / "runs").iterdir()}
    assert folders == {run.info.run_id for run in found}
    for run in jobs:
        assert [step for step, _ in history(project, run, "train/loss")] == [1, 2, 3]
