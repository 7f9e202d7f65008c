"""Runs of before `final/` and of before hidden tags are found, compared, gone on with, reproduced."""

import math
import socket
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, ViewType
from omegaconf import OmegaConf

from expkit.comparison.groups import grouped, metrics_to_show
from expkit.experiment import run
from expkit.processes.context import VARIABLE, JobContext
from expkit.sweeps.plan import PlannedJob
from expkit.tracking.jobs import select
from expkit.tracking.logged import LoggedRun, logged_run
from expkit.tracking.params import params_of
from expkit.tracking.past import FINGERPRINT, KIND, newest_run, runs_with, tag_of
from expkit.tracking.run import open_run
from expkit.tracking.store import HOST, close_abandoned, connect, experiment_id, owner_tags
from expkit.tracking.sweep import SWEEP_FINGERPRINT, earlier_value, is_stopped, open_sweep
from expkit.tracking.writer import Run

CONFIG: dict[str, Any] = {
    "seed": 1,
    "objective": "eval/f1",
    "direction": "maximize",
    "run_name": None,
    "trusted_modules": [],
    "resume": "auto",
    "task": {"_target_": "expkit.tasks.text_classification.TextClassification"},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001},
    "tracking": {"uri": None, "experiment": "expkit"},
}
OLD_PARAMS = {
    "seed": "1",
    "objective": "eval/f1",
    "direction": "maximize",
    "run_name": "old",
    "task._target_": "expkit.tasks.text_classification.TextClassification",
    "optimizer._target_": "torch.optim.AdamW",
    "optimizer.lr": "0.001",
    "tracking.experiment": "expkit",
}


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return connect(None)


def old_run(client: MlflowClient, state: str = "FINISHED", **tags: str) -> str:
    """A run as earlier versions logged it; the exported model is the last value of the curve."""
    experiment = experiment_id(client, "expkit")
    named = {f"expkit.{key}": value for key, value in {"fingerprint": "facts", **tags}.items()}
    run_id = str(client.create_run(experiment, run_name="old", tags=named).info.run_id)
    curve = [(0.4, 10, 5), (0.7, 20, 10), (0.6, 30, 10)]
    metrics = [Metric("eval/f1", value, time, step) for value, time, step in curve]
    metrics += [Metric("eval/loss", 0.3, 30, 10), Metric("baseline/majority_f1", 0.1, 30, 10)]
    params = [Param(key, value) for key, value in OLD_PARAMS.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    if state != "RUNNING":
        client.set_terminated(run_id, state)
    return run_id


def new_run(client: MlflowClient, config: dict[str, Any], typed: list[str], f1: float) -> str:
    experiment = experiment_id(client, "expkit")
    tags = {FINGERPRINT: "facts"}
    run_id = str(client.create_run(experiment, run_name="new", tags=tags).info.run_id)
    metrics = [Metric("final/f1", math.nan, 1, 0), Metric("eval/f1", 0.9, 2, 5)]
    metrics += [Metric("final/f1", f1, 3, 0), Metric("final/loss", 0.2, 3, 0)]
    params = [Param(key, value) for key, value in params_of(config, typed).items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def test_an_old_and_a_new_run_of_one_configuration_are_one_row(client: MlflowClient) -> None:
    ids = [old_run(client)]
    typed = ["optimizer=adamw", "optimizer.lr=1e-3", "seed=2"]
    ids.append(new_run(client, {**CONFIG, "seed": 2}, typed, 0.8))
    (group,) = groups = grouped(select(ids).jobs)
    assert group.values("final/f1") == [0.6, 0.8]
    assert metrics_to_show(groups, []) == ["final/f1", "final/loss"]
    assert metrics_to_show(groups, ["f1", "eval/f1"]) == ["final/f1", "eval/f1"]


def test_runs_are_found_by_either_name_of_a_tag_the_newest_first(client: MlflowClient) -> None:
    ids = [old_run(client), new_run(client, CONFIG, [], 0.8), old_run(client)]
    client.set_tag(ids[0], FINGERPRINT, "facts")  # as if somebody had gone on with it
    runs = list(runs_with(client, [experiment_id(client, "expkit")], FINGERPRINT, "facts"))
    assert sorted(run.info.run_id for run in runs) == sorted(ids)
    times = [run.info.start_time for run in runs]
    assert times == sorted(times, reverse=True)
    client.set_tag(ids[2], FINGERPRINT, "other")  # which is what holds
    assert newest_run(client, experiment_id(client, "expkit"), "other") is not None
    runs = list(runs_with(client, [experiment_id(client, "expkit")], FINGERPRINT, "facts"))
    assert ids[2] not in [run.info.run_id for run in runs]


def test_a_search_and_a_run_take_the_result_of_an_old_run(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_run(client)
    monkeypatch.setenv(VARIABLE, JobContext(sweep="another").variables()[VARIABLE])
    assert earlier_value(CONFIG, "facts") == 0.6
    monkeypatch.setattr("expkit.experiment.go_online_if_asked", lambda cfg: None)
    monkeypatch.setattr("expkit.experiment.identity_of", lambda config: {})
    monkeypatch.setattr("expkit.experiment.digest_of_values", lambda facts: "facts")
    monkeypatch.setattr("expkit.experiment.run_name", lambda *_: "name")
    assert run(OmegaConf.create(CONFIG), {}).objective == 0.6


def test_an_old_sweep_goes_on(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = old_run(client, "KILLED", kind="sweep", sweep_fingerprint="jobs", stopped="true")
    job = PlannedJob(0, (), {"seed": "1"}, CONFIG, "of job")
    old_run(client, fingerprint="of job", sweep=parent)
    monkeypatch.setenv(VARIABLE, JobContext(sweep=parent).variables()[VARIABLE])
    assert is_stopped(CONFIG["tracking"])
    with open_sweep(CONFIG, "jobs", "sweep: seed", []) as opened:
        assert opened.id == parent
        assert not is_stopped(CONFIG["tracking"])
        assert opened.is_done(job)
        (row,) = opened.rows([job])
    assert (row.state, row.value) == ("FINISHED", 0.6)
    tags = client.get_run(parent).data.tags
    assert [tag_of(tags, name) for name in (KIND, SWEEP_FINGERPRINT)] == ["sweep", "jobs"]
    assert select([]).title == f"old ({parent[:8]})"


def test_an_old_run_whose_process_is_gone_is_closed(client: MlflowClient) -> None:
    gone = old_run(client, "RUNNING", host=socket.gethostname(), pid="999999999")
    at_work = old_run(client, "RUNNING", host=socket.gethostname())
    for name, value in owner_tags().items():
        client.set_tag(at_work, name.removeprefix("mlflow."), value)
    elsewhere = old_run(client, "RUNNING", host=socket.gethostname(), pid="999999999")
    client.set_tag(elsewhere, HOST, "another machine, which went on with it")
    close_abandoned(client)
    states = [client.get_run(run_id).info.status for run_id in (gone, at_work, elsewhere)]
    assert states == ["KILLED", "RUNNING", "RUNNING"]


def test_an_old_run_is_reproduced_by_its_last_scores_and_its_tags(client: MlflowClient) -> None:
    tags = {"version.torch": "2.0", "hardware.threads": "7", "git.dirty": "true"}
    old = old_run(client)
    for name, value in tags.items():
        client.set_tag(old, name, value)
    client.log_text(old, "seed: 1", "run.yaml")
    found = logged_run(old)
    assert found.scores() == {"final/f1": 0.6, "final/loss": 0.3, "baseline/majority_f1": 0.1}
    assert found.environment() == tags
    new = new_run(client, CONFIG, [], 0.6)
    client.log_text(new, '{"version.torch": "2.1"}', "environment.json")
    made = LoggedRun(client.get_run(new), {}, client)
    assert made.scores() == {"final/f1": 0.6, "final/loss": 0.2}
    assert made.environment() == {"version.torch": "2.1"}


def test_a_result_arrives_behind_the_place_that_was_kept_for_it(client: MlflowClient) -> None:
    """Also when a run begins anew because it was cut off before its first checkpoint."""
    settings = {"uri": None, "experiment": "expkit"}

    def cut_off() -> None:
        with open_run(settings, "x", {}, resume="never") as tracked:
            tracked.start()
            tracked.log({"final/f1": math.nan})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    with open_run(settings, "x", {}, resume="auto") as tracked:
        assert isinstance(tracked, Run)
        assert tracked.goes_on
        tracked.start()
        tracked.log({"final/f1": math.nan})
        tracked.log({"eval/f1": 0.5}, 3)
        tracked.log({"final/f1": 0.75})
    found = client.get_run(tracked.id)
    history = client.get_metric_history(tracked.id, "final/f1")
    assert [(m.step, str(m.value)) for m in history] == [(0, "nan"), (0, "0.75")]
    assert found.data.metrics == {"final/f1": 0.75, "eval/f1": 0.5}
    assert "expkit.error" not in found.data.tags


def test_a_deleted_run_is_found_only_if_asked_for(client: MlflowClient) -> None:
    client.delete_run(old_run(client))
    experiment = experiment_id(client, "expkit")
    assert list(runs_with(client, [experiment], FINGERPRINT, "facts")) == []
    assert len(list(runs_with(client, [experiment], FINGERPRINT, "facts", ViewType.ALL))) == 1
