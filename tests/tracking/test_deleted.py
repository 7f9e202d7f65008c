"""What somebody deletes in MLflow while it is written to: nothing is lost, and nothing left RUNNING."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from expkit.commands import sync
from expkit.processes.context import VARIABLE, JobContext
from expkit.sweeps.grid import sum_up
from expkit.sweeps.plan import PlannedJob
from expkit.terminal.errors import UserError
from expkit.tracking import outbox, store
from expkit.tracking.past import FINGERPRINT, SWEEP
from expkit.tracking.run import open_run
from expkit.tracking.sweep import open_sweep, stop_sweep

SETTINGS = {"uri": None, "experiment": "x"}


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return store.connect(None)


def by_itself(client: MlflowClient, run_id: str) -> None:
    client.delete_run(run_id)


def with_its_experiment(client: MlflowClient, run_id: str) -> None:
    client.delete_experiment(client.get_run(run_id).info.experiment_id)


@pytest.mark.parametrize("delete", [by_itself, with_its_experiment])
def test_a_run_that_is_deleted_goes_on_and_is_complete_when_restored(
    delete: Callable[[MlflowClient, str], None],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(outbox, "FLUSH_AFTER", 0.01)
    monkeypatch.setattr(outbox, "FIRST_WAIT", 0.02)
    begun = time.monotonic()
    with open_run(SETTINGS, "a run", {}, resume="never") as run:
        run.start()
        delete(client, run.id)
        for step in range(5):
            run.log({"train/loss": 1.0}, step)
            time.sleep(0.1)
        run.log_config({"seed": 1}, {"seed": 1})
    assert time.monotonic() - begun < outbox.WAIT_AT_END
    found = client.get_run(run.id)
    assert (found.info.status, found.info.lifecycle_stage) == ("KILLED", "deleted")
    said = capsys.readouterr().out
    assert said.count(f"run {run.id} was deleted in MLflow; ") == 1
    assert re.search(r"python -m mlflow \w+ restore .* restores it, and then .*expkit.sync", said)
    with (
        pytest.raises(UserError, match=r"(run \w{32}|experiment='x':) was deleted; .* restores it"),
        open_run(SETTINGS, "a run", {}, resume=run.id[:12]),
    ):
        pass
    assert not sync.run(sync.parser().parse_args([run.id]))
    assert "was deleted in MLflow; MLFLOW_TRACKING_URI=" in capsys.readouterr().out
    if delete is with_its_experiment:
        client.restore_experiment(found.info.experiment_id)
    else:
        client.restore_run(run.id)
    assert sync.run(sync.parser().parse_args([run.id]))
    found = client.get_run(run.id)
    assert (found.info.status, found.data.params) == ("FINISHED", {"seed": "1"})
    assert len(client.get_metric_history(run.id, "train/loss")) == 5


CONFIG = {"objective": "eval/f1", "direction": "maximize", "run_name": None}


def job(number: int) -> PlannedJob:
    return PlannedJob(number, (), {"seed": str(number)}, CONFIG, "f")


def test_the_table_of_a_sweep_is_shown_without_its_parent_and_names_deleted_jobs(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"tracking": SETTINGS, "resume": "never", "trusted_modules": []}
    jobs = [PlannedJob(n, (), {"seed": str(n)}, job(n).config, f"f{n}") for n in range(3)]
    with open_sweep(config, "f", "a sweep", ["seed=0,1"]) as opened:
        experiment = client.get_run(opened.id).info.experiment_id
        runs = [
            client.create_run(experiment, tags={SWEEP: opened.id, FINGERPRINT: f"f{n}"}).info.run_id
            for n in (0, 1)
        ]
        for run_id in runs:
            client.log_metric(run_id, "eval/f1", 0.5)
            client.set_terminated(run_id, "FINISHED")
        for run_id in (opened.id, runs[1]):
            client.delete_run(run_id)
        monkeypatch.setenv(VARIABLE, JobContext(sweep=opened.id).variables()[VARIABLE])
        stop_sweep(SETTINGS)
        rows = opened.rows(jobs)
        assert [row.state for row in rows] == ["FINISHED", "DELETED", "NOT STARTED"]
        sum_up(opened, rows)
    said = capsys.readouterr().out
    assert "0.5000*" in said
    assert re.search(f"deleted: seed=1: .*runs restore --run-id {runs[1]} restores it", said)
    assert f"run {opened.id} was deleted in MLflow and stays as it is" in said
    found = client.get_run(opened.id).info
    assert (found.status, found.lifecycle_stage) == ("FINISHED", "deleted")
    left: list[Any] = client.search_runs([experiment], "status = 'RUNNING'", ViewType.ALL)
    assert not left


def test_a_project_that_was_moved_still_sends_what_waits(
    client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(SETTINGS, "a run", {}, resume="never") as run:
        run.start()
        run.log_config({"seed": 1}, {"seed": 1})
        run.log_model(
            run.folder / "model", SimpleNamespace(pipeline="fill-mask", serving=None), None
        )
        (run.folder / "adapter").mkdir()
        run.log_folder(run.folder / "adapter", "adapter")
        client.delete_run(run.id)
    written = [json.loads(line) for line in (run.folder / outbox.FILE).read_text().splitlines()]
    named = {key: e[key] for e in written for key in ("path", "folder") if e.get(key)}
    assert not any(Path(path).is_absolute() for path in named.values())


def test_a_finished_run_says_how_its_model_is_trained_further(client: MlflowClient) -> None:
    identity = {"precision": "fp32", "source": {}, "scheduler": {}, "train": {"epochs": 1}}
    with open_run(SETTINGS, "a run", identity, resume="never") as run:
        run.start()
    expected = rf"has finished .*; a new run .* model=checkpoint model.path={run.folder}/model"
    with (
        pytest.raises(UserError, match=expected),
        open_run(SETTINGS, "a run", {**identity, "train": {"epochs": 3}}, resume=run.id),
    ):
        pass
