"""Sweeps as a user starts them: failures, parallel jobs, and what MLflow holds afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import CHECKOUT, TINY, Command, environment_of

JOB = (*TINY, "train.max_steps=4", "tracking.log_model=false")

DEADLY = """
import os, signal
from expkit.backends.torch_loop import TorchLoop

class Deadly(TorchLoop):
    def fit(self, training, on_step):
        if training.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().fit(training, on_step)
"""

DEADLY_ONCE = """
import os, signal
from pathlib import Path
from expkit.backends.torch_loop import TorchLoop

class Deadly(TorchLoop):
    def fit(self, training, on_step):
        def then_die(result):
            if result.done == 3 and training.seed == 2 and not Path("died").exists():
                Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return on_step(result)
        if training.start:
            Path("went_on").write_text(f"after step {training.start}")
        super().fit(training, then_die)
"""


def runs(client: MlflowClient) -> tuple[Run, list[Run]]:
    """The parent and its jobs; there must be one sweep, and nothing beside it."""
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [run for run in found if run.data.tags.get("mlflow.expkit.kind") == "sweep"]
    jobs = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(found) == 1 + len(jobs)
    return parent, jobs


def states(jobs: list[Run]) -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in reversed(jobs)}  # the newest one counts


def test_two_of_six_jobs_fail_alone(expkit: Command, project: Path) -> None:
    done = expkit(
        *("-m", "optimizer=sgd", "train.max_grad_norm=null", *JOB),
        *("optimizer.lr=1e-2,2e-2,1e30", "seed=1,2"),
    )
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    parent, jobs = runs(client)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert parent.info.status == "FAILED"
    assert sorted(states(jobs).values()) == ["FAILED"] * 2 + ["FINISHED"] * 4
    failed = [run for run in jobs if run.info.status == "FAILED"]
    table = done.stdout[done.stdout.rindex("sweep: optimizer.lr, seed") :]
    for run in failed:
        assert run.info.run_name in ("lr=1e30 seed=1", "lr=1e30 seed=2")
        assert f"failed: {run.info.run_name}: training has diverged" in table
        names = [artifact.path for artifact in client.list_artifacts(run.info.run_id)]
        assert "traceback.txt" in names
    assert "2 of 6 jobs have not finished" in done.stderr
    assert parent.data.metrics["sweep/finished"] == 4
    summary = mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/sweep/jobs.json")
    position = summary["columns"].index("state")
    assert [row[position] for row in summary["data"]] == ["FINISHED"] * 4 + ["FAILED"] * 2
    best = [run for run in jobs if run.data.tags.get("expkit.best") == "true"]
    scores = [run.data.metrics["final/f1"] for run in jobs if run.info.status == "FINISHED"]
    assert [run.data.metrics["final/f1"] for run in best] == [max(scores)] * scores.count(
        max(scores)
    )


def test_on_failure_stop_and_retry(expkit: Command, project: Path) -> None:
    options = ("-m", "optimizer=sgd", "train.max_grad_norm=null", *JOB)
    stopped = expkit(*options, "optimizer.lr=1e30,1e-2,2e-2", "sweep.on_failure=stop")
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    _, jobs = runs(client)
    assert stopped.returncode == 1
    assert states(jobs) == {"lr=1e30": "FAILED"}
    assert stopped.stdout.count("not started: lr=") == 2

    again = expkit(
        *(*options, "optimizer.lr=1e30,1e-2", "sweep.on_failure=retry", "sweep.retries=2"),
        "tracking.experiment=retried",
    )
    experiment = client.get_experiment_by_name("retried")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    failed = [r for r in found if r.info.run_name == "lr=1e30"]
    assert again.returncode == 1
    assert [run.info.status for run in failed] == ["FAILED"] * 3
    assert len([run for run in found if run.info.run_name == "lr=1e-2"]) == 1


def test_a_wrong_job_is_found_before_any_starts(expkit: Command, project: Path) -> None:
    done = expkit("-m", "optimizer.lr=1e-3,fast", "train.epochs=0,1", *TINY)
    assert done.returncode == 2
    assert "optimizer.lr='fast': expected a number" in done.stderr
    assert done.stderr.count("train.epochs=0") == 1, "said once, not for each job"
    assert "Traceback" not in done.stderr
    assert not list((project / "outputs").glob("*"))


@pytest.mark.slow
def test_eight_jobs_at_once_on_a_fresh_store(python: Command, project: Path) -> None:
    done = python("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=8", "seed=range(8)", *JOB)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    parent, jobs = runs(client)
    assert parent.info.status == "FINISHED"
    assert states(jobs) == {f"seed={i}": "FINISHED" for i in range(8)}
    for run in jobs:
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [metric.step for metric in history] == [1, 2, 3, 4]
        assert environment_of(run)["hardware.threads"] == "1"
        assert (project / "outputs" / "runs" / run.info.run_id / "model").is_dir()
    assert len({run.data.metrics["train/loss"] for run in jobs}) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=submitit_local",),
        ("sweep.process_per_job=true",),
    ],
)
def test_a_job_whose_process_dies_fails_alone(
    how: tuple[str, ...], python: Command, project: Path
) -> None:
    (project / "deadly.py").write_text(DEADLY)
    done = python("-m", "backend._target_=deadly.Deadly", "seed=1,2,3,4", *JOB, *how)
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    _, jobs = runs(client)
    assert done.returncode == 1
    by_name: dict[str, list[str]] = {}
    for run in jobs:
        by_name.setdefault(run.info.run_name, []).append(run.info.status)
    assert "FINISHED" not in by_name.pop("seed=2")
    assert [statuses.count("FINISHED") for statuses in by_name.values()] == [1, 1, 1]
    assert "killed: seed=2: its process died" in done.stdout
    if "joblib" not in how[0]:  # which takes the other jobs down
        assert len(jobs) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ("sweep.process_per_job=true", "sweep.on_failure=retry", "sweep.retries=1"),
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    ],
)
def test_what_is_launched_again_goes_on_from_its_checkpoint(
    how: tuple[str, ...], python: Command, project: Path
) -> None:
    (project / "deadly.py").write_text(DEADLY_ONCE)
    done = python(
        *("-m", "backend._target_=deadly.Deadly", "seed=1,2", *JOB, "checkpoint.every_steps=1"),
        *how,
    )
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    _, jobs = runs(client)
    assert states(jobs) == {"seed=1": "FINISHED", "seed=2": "FINISHED"}
    assert (project / "went_on").read_text() == "after step 2"
    (run,) = [run for run in jobs if run.info.run_name == "seed=2"]
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_job_whose_process_dies_stops_a_sweep_that_is_to_stop(
    expkit: Command, project: Path
) -> None:
    (project / "deadly.py").write_text(DEADLY)
    done = expkit(
        *("-m", "backend._target_=deadly.Deadly", "seed=2,1", *JOB, "sweep.on_failure=stop"),
        *("hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=1"),
    )
    assert done.returncode == 1
    _, jobs = runs(MlflowClient(f"sqlite:///{project}/outputs/mlflow.db"))
    assert states(jobs) == {"seed=2": "KILLED"}
    assert "not started: seed=1" in done.stdout


def test_tasks_with_different_metrics_are_one_sweep(expkit: Command, project: Path) -> None:
    done = expkit("-m", "task=text_classification,token_classification", *JOB)
    assert done.returncode == 0, done.stderr
    parent, jobs = runs(MlflowClient(f"sqlite:///{project}/outputs/mlflow.db"))
    assert parent.info.status == "FINISHED"
    assert states(jobs) == {
        "task=text_classification": "FINISHED",
        "task=token_classification": "FINISHED",
    }
    table = done.stdout[done.stdout.rindex("sweep: task") :]
    assert "task=token_classification" in table
    best = [run for run in jobs if run.data.tags.get("expkit.best") == "true"]
    assert best == [], "F1 of entities and F1 of labels cannot be ranked"
    assert "\nbest " not in table


@pytest.mark.slow
def test_submitit_runs_a_sweep_and_resume_skips_what_is_finished(
    expkit: Command, project: Path
) -> None:
    done = expkit("-m", "hydra/launcher=submitit_local", "seed=1,2", *JOB)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    _, jobs = runs(client)
    assert states(jobs) == {"seed=1": "FINISHED", "seed=2": "FINISHED"}

    more = expkit("-m", "seed=1,2,3", "resume=auto", *JOB)
    assert more.returncode == 0, more.stderr
    assert "2 of them had finished before" in more.stdout
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    names = [
        run.info.run_name for run in found if run.data.tags.get("mlflow.expkit.kind") != "sweep"
    ]
    assert sorted(names) == ["seed=1", "seed=2", "seed=3"]
    changed = expkit("-m", "seed=1,2", "resume=auto", *JOB, "optimizer.lr=2e-3")
    assert "had finished before" not in changed.stdout


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_kept_and_the_others_go_on(
    expkit: Command, project: Path
) -> None:
    """Submitit sends its signal 30 seconds before the end, as Slurm does."""
    done = expkit(
        *("-m", *TINY, "tracking.log_model=false", "train.eval_every=1000000"),
        *("train.max_steps=1000000,4,5", "hydra/launcher=submitit_local"),
        "hydra.launcher.timeout_min=2",  # a busy machine needs most of one to begin three jobs
    )
    assert done.returncode == 1
    _, jobs = runs(MlflowClient(f"sqlite:///{project}/outputs/mlflow.db"))
    assert len(jobs) == 3
    others = {"max_steps=4": "FINISHED", "max_steps=5": "FINISHED"}
    assert states(jobs) == {"max_steps=1000000": "KILLED", **others}
    assert "killed: max_steps=1000000: was stopped by a signal; resume=auto" in done.stdout
    assert "no result" not in done.stdout
    (killed,) = [run for run in jobs if run.info.status == "KILLED"]
    kept = project / "outputs" / "runs" / killed.info.run_id / "checkpoints"
    assert list(kept.glob("step-*/*.safetensors"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("timeout_min=soon", 'hydra.launcher: Parameter "timeout_min" expected type'),
        ("colour=red", "colour"),
    ],
)
def test_an_option_that_submitit_does_not_take_is_one_message(
    option: str, message: str, expkit: Command
) -> None:
    done = expkit(
        "-m", "seed=1,2", *JOB, "hydra/launcher=submitit_local", f"++hydra.launcher.{option}"
    )
    assert done.returncode == 2, done.stdout
    (said,) = done.stderr.splitlines()
    assert message in said


def test_without_slurm_the_slurm_launcher_is_one_message(
    expkit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = expkit("-m", "seed=1,2", *JOB, "hydra/launcher=submitit_slurm")
    assert done.returncode == 1
    assert "expkit: hydra/launcher=submitit_slurm: " in done.stderr
    assert "srun" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_logged_config_is_swept_over_as_well(expkit: Command, project: Path) -> None:
    assert expkit(*JOB, "resume=auto").returncode == 0
    store = f"sqlite:///{project}/outputs/mlflow.db"
    (first,) = MlflowClient(store).search_runs(["1"])
    again = expkit(*JOB, "resume=auto")
    assert f"finished before: run {first.info.run_name} ({first.info.run_id})" in again.stdout
    folder = mlflow.artifacts.download_artifacts(
        f"{first.info.artifact_uri}/run.yaml", dst_path=str(project / "configs")
    )
    done = expkit(
        *(f"--config-dir={Path(folder).parent}", "--config-name=run", "-m"),
        *("optimizer.lr=1e-3,1e30", "tracking.experiment=again", "train.max_grad_norm=null"),
    )
    assert done.returncode == 1
    again_id = MlflowClient(store).get_experiment_by_name("again")
    assert again_id is not None
    found = MlflowClient(store).search_runs([again_id.experiment_id])
    assert sum(run.data.tags.get("mlflow.expkit.kind") == "sweep" for run in found) == 1
    assert sorted(run.info.status for run in found) == ["FAILED", "FAILED", "FINISHED"]
    assert [path.name for path in project.glob("*.log")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "number"),
    [
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), signal.SIGTERM),  # to the sweep
        (("sweep.process_per_job=true",), signal.SIGINT),  # to all processes, as a terminal does
        (("hydra/launcher=submitit_local",), signal.SIGINT),
    ],
)
def test_signals_end_the_sweep_and_its_jobs_after_their_steps(
    how: tuple[str, ...], number: signal.Signals, project: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "expkit", "-m", "seed=1,2", *TINY, "train.max_steps=100000", *how],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert wait_for_store(project)
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not any(
        run.data.metrics.get("eval/loss") for run in client.search_runs(["1"])
    ):
        time.sleep(0.5)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(timeout=600) == 130
    found = client.search_runs(["1"])
    assert len(found) >= 2
    assert {run.info.status for run in found} == {"KILLED"}
    trained = [run for run in found if "train/loss" in run.data.metrics]
    assert trained
    for run in trained:
        folder = project / "outputs" / "runs" / run.info.run_id
        newest = max(file.name for file in (folder / "checkpoints").iterdir())
        last = client.get_metric_history(run.info.run_id, "train/loss")[-1].step
        assert newest == f"step-{last:08d}"


def wait_for_store(project: Path) -> bool:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if (project / "outputs" / "mlflow.db").exists():
            return True
        time.sleep(0.5)
    return False


MANY_JOBS = """
import gc, json, sys
import psutil
from conftest import JOBS_OF_ONE_PROCESS, composed
from expkit.sweeps.job import carry_out
rss, scores = [], []
for i in range(12):
    cfg = composed(*JOBS_OF_ONE_PROCESS[i % 3], "tracking.log_model=false")
    scores.append(carry_out(cfg, {}, []).objective)
    rss.append(psutil.Process().memory_info().rss)
print(json.dumps([scores, rss]))
"""


@pytest.mark.slow
def test_jobs_of_one_process_leave_nothing_behind(project: Path) -> None:
    """Results are those of the first time round, and memory does not grow with every job."""
    done = subprocess.run(
        [sys.executable, "-c", MANY_JOBS],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")},
    )
    assert done.returncode == 0, done.stderr
    scores, rss = json.loads(done.stdout.splitlines()[-1])
    assert scores[:3] == scores[3:6] == scores[9:12]
    assert rss[11] < 1.05 * rss[5]
