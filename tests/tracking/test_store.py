"""The store: where it is, who may see its password, and that many may make it at once."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from expkit.errors import UserError
from expkit.secrets import without_password
from expkit.tracking import store


def test_a_relative_sqlite_path_belongs_to_the_project(project: Path) -> None:
    expected = f"sqlite:///{project}/outputs/mlflow.db"
    assert store.tracking_uri(None) == expected
    assert store.tracking_uri("sqlite:///outputs/mlflow.db") == expected
    assert store.tracking_uri("sqlite:////data/x.db") == "sqlite:////data/x.db"


def test_the_environment_points_at_a_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert store.tracking_uri(None) == "http://host:5000"
    assert store.tracking_uri("sqlite:////own.db") == "sqlite:////own.db"


def test_a_deleted_experiment_is_named(project: Path) -> None:
    client = store.connect(None)
    client.delete_experiment(store.experiment_id(client, "old"))
    with pytest.raises(UserError, match="experiment='old': was deleted"):
        store.experiment_id(client, "old")


def test_processes_that_start_on_a_fresh_store_do_not_break_each_other(project: Path) -> None:
    code = (
        "from expkit.tracking import store; client = store.connect(None);"
        "client.create_run(store.experiment_id(client, 'together'))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=project, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()
    client = MlflowClient(store.tracking_uri(None))
    experiment = client.get_experiment_by_name("together")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 4


def test_only_runs_of_dead_processes_are_closed(project: Path) -> None:
    client = store.connect(None)
    experiment = store.experiment_id(client, "x")
    mine = client.create_run(experiment, tags=store.owner_tags()).info.run_id
    dead = {**store.owner_tags(), store.PID: "999999999"}
    other_host = {**dead, store.HOST: "elsewhere"}
    abandoned, elsewhere = (
        client.create_run(experiment, tags=tags).info.run_id for tags in (dead, other_host)
    )
    store.close_abandoned(client)
    states = {run: client.get_run(run).info.status for run in (mine, abandoned, elsewhere)}
    assert states == {mine: "RUNNING", abandoned: "KILLED", elsewhere: "RUNNING"}


def test_a_missing_driver_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # what Python takes for "not there"
    with pytest.raises(UserError, match=r"psycopg.*pip install 'expkit\[postgres\]'") as raised:
        store.connect("postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(raised.value)


def test_a_database_that_refuses_is_said_at_once() -> None:
    with pytest.raises(UserError, match=r"no database can be opened there .*refused") as raised:
        store.connect("postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(raised.value)


def test_a_database_that_is_silent_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # connections are made, and nobody takes them
        start = time.monotonic()
        with pytest.raises(UserError, match=r"no database can be opened there .*timeout"):
            store.connect(f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/db")
        assert time.monotonic() - start < 2 * store.REACHABLE_WITHIN


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://u:se/cret@h/db", "postgresql://***@h/db"),
        ("postgresql://u:se#cret@h/db", "postgresql://***@h/db"),
        (
            "postgresql://h/db?user=u&password=secret&x=1",
            "postgresql://h/db?user=u&password=***&x=1",
        ),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_its_password(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


def test_a_process_that_has_ended_but_was_not_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(child.pid)
    tags = {store.PID: str(child.pid), store.STARTED: f"{process.create_time():.0f}"}
    assert store.is_alive(tags)
    process.kill()
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not store.is_alive(tags)
    child.communicate()
