"""Searches with Optuna: the study reaches its total whatever happens to trials and processes."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from omegaconf import DictConfig, OmegaConf
from optuna.pruners import ThresholdPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from conftest import TINY
from expkit.__main__ import main
from expkit.config.fingerprint import identity_of
from expkit.processes.outcome import IsPromising, Outcome
from expkit.terminal.errors import Pruned, UserError
from expkit.tracking.past import newest_run, was_cut_off
from expkit.tracking.run import open_run

pytestmark = pytest.mark.slow

SEARCH = ("-m", "hydra/sweeper=optuna", "objective=eval/loss", *TINY)
LR = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
Search = Callable[..., int]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that many tests can start from: making one takes seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def search(project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Run a search as the command does, in this process; returns the exit code."""
    shutil.copy(empty_store, project / "outputs")
    for name in ("HYDRA_FULL_ERROR", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "1")  # the command sets them; put back at the end
    handler, log_handlers = signal.getsignal(signal.SIGTERM), list(logging.root.handlers)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["expkit", *SEARCH, *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
            logging.root.handlers[:] = log_handlers
        return 0

    return run


class Runs:
    """Stands in for training: each run scores what `score` says at each of four evaluations."""

    def __init__(self, score: Callable[[DictConfig, float], float]) -> None:
        self.score = score
        self.rates: list[float] = []

    def __call__(
        self,
        cfg: DictConfig,
        choices: Mapping[str, str],
        is_promising: IsPromising,
        typed: Sequence[str],
    ) -> Outcome:
        self.rates.append(cfg.optimizer.lr)
        plain = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(plain, dict)
        with open_run(
            cfg.tracking,
            cfg.run_name,
            identity_of({str(key): value for key, value in plain.items()}),
            resume=cfg.resume,
        ) as tracked:
            for step in range(1, 5):
                value = self.score(cfg, step / 4)
                tracked.log({"eval/loss": value}, step)
                if not is_promising(step / 4, value) and step < 4:
                    raise Pruned("worse than others")
        return Outcome("finished", tracked.id, value)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runs]:
    """Replace training."""

    def replace(score: Callable[[DictConfig, float], float]) -> Runs:
        runs = Runs(score)
        monkeypatch.setattr("expkit.experiment.run", runs)
        return runs

    return replace


def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")


def mlflow_runs(project: Path) -> tuple[list[MlflowRun], list[MlflowRun]]:
    """Parents and trials."""
    store = client(project)
    found = store.search_runs([e.experiment_id for e in store.search_experiments()])
    return (
        [run for run in found if run.data.tags.get("mlflow.expkit.kind") == "sweep"],
        [run for run in found if "mlflow.expkit.trial" in run.data.tags],
    )


def the_study(project: Path) -> optuna.Study:
    (file,) = (project / "outputs" / "studies").glob("*.journal")
    storage = JournalStorage(JournalFileBackend(str(file)))
    return optuna.load_study(study_name=file.stem, storage=storage)


def states(project: Path) -> list[str]:
    return [trial.state.name for trial in the_study(project).trials]


def test_eight_trials_of_a_learning_rate(search: Search, project: Path) -> None:
    small = ("train.max_steps=2", "tracking.log_model=false", "hydra.sweeper.n_trials=8")
    assert search(LR, *small) == 0
    assert states(project) == ["COMPLETE"] * 8
    (parent,), trials = mlflow_runs(project)
    assert len(trials) == 8
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert sorted(int(run.data.tags["mlflow.expkit.trial"]) for run in trials) == list(range(8))
    assert {run.info.status for run in [parent, *trials]} == {"FINISHED"}
    by_number = {int(run.data.tags["mlflow.expkit.trial"]): run for run in trials}
    study = the_study(project)
    for trial in study.trials:
        run = by_number[trial.number]
        rate = trial.params["optimizer.lr"]
        assert float(run.data.params["optimizer.lr"]) == rate
        assert run.info.run_name == f"lr={rate:.3g}"
        assert run.data.tags["mlflow.expkit.overrides"].endswith(f"optimizer.lr={rate}")
        assert run.data.metrics["final/loss"] == trial.value
    best = by_number[study.best_trial.number]
    assert parent.data.tags["mlflow.expkit.best_run"] == best.info.run_id
    assert parent.data.metrics["sweep/best"] == study.best_value
    rate = study.best_params["optimizer.lr"]
    assert parent.data.tags["expkit.best_parameters"] == f"optimizer.lr={rate}"


def test_failed_and_non_finite_trials_fail_alone(
    search: Search, stand_in: Callable[..., Runs], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def score(cfg: DictConfig, share: float) -> float:
        number = len(runs.rates)
        if number == 2:
            raise UserError("it has diverged")
        if number == 3:
            raise ZeroDivisionError
        return float("nan") if number == 4 else number

    runs = stand_in(score)
    assert search(LR, "hydra.sweeper.n_trials=5") == 0
    assert states(project) == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE"]
    shown = capsys.readouterr().out
    names = [f"lr={rate:.3g}" for rate in runs.rates]
    assert f"failed: {names[1]}: it has diverged" in shown
    assert f"failed: {names[2]}: ZeroDivisionError" in shown
    assert f"failed: {names[3]}: the objective is nan" in shown
    assert f"best     1.0000 with optimizer.lr={runs.rates[0]}" in shown
    (parent,), trials = mlflow_runs(project)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["sweep/failed"] == 3
    assert len(trials) == 5


def test_a_configuration_that_was_scored_is_not_run_again(
    search: Search, stand_in: Callable[..., Runs], project: Path
) -> None:
    runs = stand_in(lambda cfg, share: cfg.optimizer.lr)
    assert search("optimizer.lr=1,2", "hydra.sweeper.n_trials=6") == 0
    assert states(project) == ["COMPLETE"] * 6
    assert sorted(runs.rates) == [1, 2]


def test_no_objective_at_all_is_a_failed_search(
    search: Search, stand_in: Callable[..., Runs], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(lambda cfg, share: float("inf"))
    assert search(LR, "hydra.sweeper.n_trials=2") == 1
    assert "no trial has produced an objective" in capsys.readouterr().err
    (parent,), _ = mlflow_runs(project)
    assert parent.info.status == "FAILED"


def test_stop_and_retry(search: Search, stand_in: Callable[..., Runs], project: Path) -> None:
    def score(cfg: DictConfig, share: float) -> float:
        if len(runs.rates) == 2:
            raise UserError("only once")
        return cfg.optimizer.lr

    runs = stand_in(score)
    assert search(LR, "hydra.sweeper.n_trials=3", "sweep.on_failure=stop") == 1
    assert states(project) == ["COMPLETE", "FAIL"]
    (file,) = (project / "outputs" / "studies").glob("*.journal")
    file.unlink()
    runs.rates.clear()
    assert search(LR, "hydra.sweeper.n_trials=3", "sweep.on_failure=retry", "seed=1") == 0
    assert states(project) == ["COMPLETE"] * 3
    assert runs.rates[1] == runs.rates[2]


def test_an_interrupted_search_goes_on_to_its_total(
    search: Search, stand_in: Callable[..., Runs], project: Path
) -> None:
    def score(cfg: DictConfig, share: float) -> float:
        if len(runs.rates) == 3 and share > 0.5:
            raise KeyboardInterrupt
        return cfg.optimizer.lr

    runs = stand_in(score)
    assert search(LR, "hydra.sweeper.n_trials=5") == 130
    first = list(runs.rates)
    runs = stand_in(lambda cfg, share: cfg.optimizer.lr)
    assert search(LR, "hydra.sweeper.n_trials=6", "resume=auto") == 0
    assert runs.rates[0] == first[2]
    (parent,), trials = mlflow_runs(project)
    assert parent.info.status == "FINISHED"
    assert [run.info.status for run in trials] == ["FINISHED"] * 6
    assert len({run.data.params.get("optimizer.lr", run.info.run_name) for run in trials}) == 6
    assert states(project) == ["COMPLETE"] * 6

    runs = stand_in(lambda cfg, share: cfg.optimizer.lr)
    assert search(LR, "hydra.sweeper.n_trials=6", "resume=auto") == 0
    assert not runs.rates
    undisturbed = stand_in(lambda cfg, share: cfg.optimizer.lr)
    assert search(LR, "hydra.sweeper.n_trials=6", "resume=never") == 0
    assert undisturbed.rates[:2] == first[:2]
    assert len(undisturbed.rates) == 6
    assert len(mlflow_runs(project)[0]) == 2


def test_a_bad_trial_is_pruned(
    search: Search, stand_in: Callable[..., Runs], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, float]] = []

    def score(cfg: DictConfig, share: float) -> float:
        number = len(runs.rates)
        seen.append((number, share))
        return 9.0 if number == 4 else 1 / number

    runs = stand_in(score)
    pruner = ("hydra.sweeper.pruner=median", "hydra.sweeper.startup_trials=2")
    assert search(LR, "hydra.sweeper.n_trials=4", *pruner) == 0
    assert states(project)[3] == "PRUNED"
    assert max(share for number, share in seen if number == 4) == 0.25
    shown = capsys.readouterr().out
    assert "pruned │" in shown
    assert "still runs" not in shown
    (parent,), trials = mlflow_runs(project)
    (pruned,) = (run for run in trials if run.data.tags.get("expkit.pruned") == "true")
    assert pruned.info.status == "KILLED"
    assert "expkit.error" not in pruned.data.tags
    assert parent.info.status == "FINISHED"
    identity = pruned.data.tags["mlflow.expkit.fingerprint"]
    newest = newest_run(client(project), pruned.info.experiment_id, identity)
    assert newest is not None
    assert not was_cut_off(newest)
    runs = stand_in(lambda cfg, share: 1.0)
    assert search(LR, "hydra.sweeper.n_trials=4", "resume=auto", *pruner) == 0
    assert not runs.rates


def test_training_ends_at_the_evaluation_that_is_not_good_enough(
    search: Search,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "expkit.sweeps.search.trials.make_pruner", lambda _: ThresholdPruner(upper=0.0)
    )
    steps = ("train.max_steps=3", "train.eval_every=1", "hydra.sweeper.n_trials=1")
    assert search(LR, *steps) == 1
    assert "no trial has produced an objective" in capsys.readouterr().err
    _, (run,) = mlflow_runs(project)
    assert run.data.tags["expkit.pruned"] == "true"
    assert len(client(project).get_metric_history(run.info.run_id, "eval/loss")) == 1
    assert not list((project / "outputs" / "runs" / run.info.run_id).glob("*.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "hydra/sweeper=optuna: nothing to search"),
        (("optimizer.lr=tag(log,interval(0,1))",), "`low > 0` must hold for `log=True`"),
        (("seed=tag(log,range(1,9,3))",), "only accept step is 1 when `log`"),
        (("optimizer.lr=tag(log,range(1.0,4.0))",), "`step` is not supported when `log`"),
        (("optimizer.lr=interval(2,1)",), "`low <= high` must hold"),
        (("seed=tag(best,range(1,4))",), "tag 'best' means nothing here; allowed: log"),
        (("optimizer=adamw,sdg",), "optimizer=sdg: no such option"),
        (("optimizer.lr=interval(-1,1)",), "optimizer.lr=-1.0: must be more than 0"),
        ((LR, "hydra.sweeper.sampler=tpi"), "hydra.sweeper.sampler=tpi: allowed: tpe, random"),
        ((LR, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0: must be a whole number"),
        ((LR, "hydra.sweeper.n_jobs=2"), "hydra/launcher=basic runs one job after another"),
        ((LR, "dry_run=true"), "dry_run=true: is for a single run"),
    ],
)
def test_a_wrong_search_is_one_message(
    search: Search,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert search(*arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert not (project / "outputs" / "studies").exists()


def test_a_named_study_is_not_mixed_up(
    search: Search, stand_in: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(lambda cfg, share: cfg.optimizer.lr)
    named = ("hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=2")
    assert search(LR, *named) == 0
    assert search(LR, *named) == 2
    assert "exists already; resume=auto goes on with it" in capsys.readouterr().err
    assert search("optimizer.lr=interval(1,2)", *named, "resume=auto") == 2
    assert "belongs to another search" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_are_killed_and_go_on(project: Path, empty_store: Path) -> None:
    """SIGKILL to all processes while workers are at work, then the same command again."""
    shutil.copy(empty_store, project / "outputs")
    command = [sys.executable, "-m", "expkit", *SEARCH, LR, "resume=auto", "hydra/launcher=joblib"]
    command += ["train.max_steps=2", "tracking.log_model=false"]
    command += ["hydra.sweeper.n_jobs=2", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_trials=4"]
    with (project / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=project, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(lambda: "COMPLETE" in states(project), process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "RUNNING" in states(project)  # the kill cut a trial off
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    found = the_study(project).trials
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 4
    assert len({trial.params["optimizer.lr"] for trial in found}) == 4
    parents, trials = mlflow_runs(project)
    assert [run.info.status for run in [*parents, *trials]] == ["FINISHED"] * 5
    assert "Warning" not in done.stderr


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Until it holds; fails when the process ends before."""
    while True:
        assert process.poll() is None, "the search has ended"
        try:
            if condition():
                return
        except (ValueError, KeyError):  # there is no study yet
            pass
        time.sleep(0.1)
