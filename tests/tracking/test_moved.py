"""A project that was moved or copied keeps its artifacts, and leaves those of others alone."""

import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from expkit.config.project import run_folder
from expkit.terminal.errors import UserError
from expkit.tracking import store
from expkit.tracking.moved import made_in
from expkit.tracking.outbox import lock_of


@pytest.fixture
def before(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run, and with one of another project, which uses its store."""
    root, other = project / "why? 50% #1", project / "other"
    for folder in (root, other):
        (folder / "outputs").mkdir(parents=True)
    monkeypatch.chdir(root)
    client = store.connect(None)
    made(client, "mine")
    monkeypatch.chdir(other)
    made(store.connect(client.tracking_uri), "theirs")
    return root


def made(client: MlflowClient, name: str) -> None:
    experiment = store.experiment_id(client, name)
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, name, "a.txt")
    client.create_logged_model(experiment, name="model", source_run_id=run.info.run_id)
    client.set_terminated(run.info.run_id, "FINISHED")


def places(client: MlflowClient, name: str) -> list[str]:
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    (model,) = client.search_logged_models(experiment_ids=[experiment.experiment_id])
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a.txt") == name
    return [experiment.artifact_location, run.info.artifact_uri, model.artifact_location]


def test_the_artifacts_are_where_the_project_is(
    before: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    copy, moved, link = (project / name for name in ("copy", "moved ä", "link"))
    shutil.copytree(before, copy)
    link.symlink_to(before)
    for root, expected, says in (
        (before, before, 0),
        (copy, copy, 1),
        (copy, copy, 0),
        (link, before, 0),
        (moved, moved, 1),
    ):
        if root == moved:
            link.unlink()
            before.rename(moved)
        monkeypatch.chdir(root)
        capfd.readouterr()
        client = store.connect(None)
        assert capfd.readouterr().out.count("its artifacts are now those in") == says
        found = places(client, "mine")
        assert all(place.startswith(f"{(expected / 'outputs').as_uri()}/") for place in found)
        theirs = (project / "other" / "outputs").as_uri()
        assert all(place.startswith(f"{theirs}/") for place in places(client, "theirs"))


def test_the_store_of_a_project_in_a_folder_of_this_one_stays_as_it_is(
    before: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(before)
    address = str(store.connect(None).tracking_uri)
    kept = places(MlflowClient(address), "mine")
    for around in (project, Path("/")):
        monkeypatch.chdir(around)
        assert places(store.connect(address), "mine") == kept


def test_a_run_that_is_at_work_keeps_its_place(
    before: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(before)
    client = store.connect(None)
    run = client.create_run(store.experiment_id(client, "mine"), tags=store.owner_tags())
    lock = lock_of(run_folder(run.info.run_id))
    lock.acquire()
    before.rename(project / "moved")
    monkeypatch.chdir(project / "moved")
    with pytest.raises(UserError, match=f"run {run.info.run_id} is at work and knows this project"):
        store.connect(None)
    lock.release()
    store.connect(None)


@pytest.mark.parametrize(
    ("locations", "root"),
    [
        (["/a/p/mlruns/0", "file:///a/p/outputs/artifacts"], "/a/p"),
        (["/a/p/below/mlruns/0", "file:///a/p/outputs/artifacts"], "/a/p"),
        (["/a/p%20q/mlruns/0", "file:///a/p%2520q/outputs/artifacts"], "/a/p%20q"),
        (["/a/p/mlruns/0", "file:///b/outputs/artifacts", "file:///a/p/outputs/artifacts"], "/a/p"),
        (["/a/p/mlruns/0", "file:///b/outputs/artifacts"], None),
        (["mlflow-artifacts:/0", "file:///b/outputs/artifacts"], None),
        (["/a/p/mlruns/0", "s3://bucket/outputs/artifacts"], None),
        (["/a/p/mlruns/0"], None),
        ([], None),
    ],
)
def test_a_store_tells_where_it_was_made(locations: list[str], root: str | None) -> None:
    assert made_in(locations) == (Path(root) if root else None)
