"""A sweep that is killed at any moment ends, with the same command again, as if nothing had been."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import TINY, launched

pytestmark = pytest.mark.slow

COMMAND = (
    *("-m", "seed=1,2", *TINY, "train.log_every=3"),
    *("train.max_steps=8", "train.eval_every=3", "tracking.log_model=false"),
    *("checkpoint.every_steps=1", "precision=fp32", "model.dropout=0.1"),
)
MOMENTS = 6
ON_A_FRESH_STORE = 3  # of them; the others start with the tables made, which takes longest

History = dict[str, dict[str, list[tuple[int, str]]]]


def start(project: Path, *more: str) -> "subprocess.Popen[str]":
    (project / "outputs").mkdir(exist_ok=True)
    return launched(project, *COMMAND, *more)


def finish(project: Path) -> History:
    """Give the command once more; returns every value of every metric of the finished jobs."""
    process = start(project, "resume=auto")
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert not [run for run in runs if run.info.status == "RUNNING"]
    parents = [run for run in runs if run.data.tags.get("mlflow.expkit.kind") == "sweep"]
    assert [run.info.status for run in parents] == ["FINISHED"]
    finished = [r for r in runs if r not in parents and r.info.status == "FINISHED"]
    assert sorted(run.info.run_name for run in finished) == ["seed=1", "seed=2"]
    return {
        run.info.run_name: {
            name: [(m.step, str(m.value)) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
            if name != "train/samples_per_second"
        }
        for run in finished
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[History, float, Path]:
    """Metrics, seconds, and a store with tables and no runs."""
    project = tmp_path_factory.mktemp("undisturbed")
    started = time.perf_counter()
    history = finish(project)
    seconds = time.perf_counter() - started
    empty = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{empty}").search_experiments()
    return history, seconds, empty


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_a_random_moment(
    moment: int, undisturbed: tuple[History, float, Path], tmp_path: Path
) -> None:
    expected, seconds, empty = undisturbed
    (tmp_path / "outputs").mkdir()
    if moment >= ON_A_FRESH_STORE:
        shutil.copy(empty, tmp_path / "outputs" / "mlflow.db")
    process = start(tmp_path)
    wait = random.uniform(0.2, 1.0) * seconds
    print(f"killed after {wait:.2f} of about {seconds:.1f} s")
    time.sleep(wait)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.communicate()
    assert finish(tmp_path) == expected


def test_steps_are_all_there_once(undisturbed: tuple[History, float, Path]) -> None:
    expected, _, _ = undisturbed
    for metrics in expected.values():
        assert [step for step, _ in metrics["train/loss"]] == [3, 6, 8]
        assert [step for step, _ in metrics["eval/loss"]] == [3, 6, 8]
        assert [step for step, _ in metrics["final/loss"]] == [0]
