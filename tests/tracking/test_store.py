"""The store: where it is, who may see its password, and that many may make it at once."""

import re
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run

from expkit.config.project import run_folder
from expkit.sweeps.search import trials
from expkit.terminal.errors import UserError
from expkit.terminal.secrets import without_password
from expkit.tracking import store
from expkit.tracking.logged import find_run
from expkit.tracking.outbox import lock_of


def test_a_relative_sqlite_path_belongs_to_the_project(project: Path) -> None:
    expected = f"sqlite:///{project}/outputs/mlflow.db"
    assert store.tracking_uri(None) == expected
    assert store.tracking_uri("sqlite:///outputs/mlflow.db") == expected
    assert store.tracking_uri("sqlite:////data/x.db") == "sqlite:////data/x.db"


def test_the_environment_points_at_a_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert store.tracking_uri(None) == "http://host:5000"
    assert store.tracking_uri("sqlite:////own.db") == "sqlite:////own.db"


@pytest.mark.parametrize(
    ("address", "file", "options"),
    [
        ("sqlite:///x.db?timeout=60", "x.db", "?timeout=60"),
        ("sqlite+pysqlite:///x.db", "x.db", ""),
        ("sqlite:///with blank/ä.db", "with blank/ä.db", ""),
        ("sqlite:///what%3F/50%25#1.db", "what?/50%#1.db", ""),
        ("sqlite:///x.db", "x.db", ""),
    ],
)
def test_an_address_of_sqlite_names_one_file_of_the_project(
    address: str, file: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "why? 50%25 #1 ü"
    (root / "outputs").mkdir(parents=True)
    (root / "below").mkdir()
    monkeypatch.chdir(root / "below")
    client = store.connect(address)
    run = client.create_run(store.experiment_id(client, "x"))
    client.log_text(run.info.run_id, "kept", "a.txt")
    found = {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}
    artifact = f"outputs/artifacts/{run.info.run_id}/artifacts/a.txt"
    assert found == {file, f"{file}.lock", artifact}
    assert str(client.tracking_uri).partition(".db")[2] == options
    again = MlflowClient(client.tracking_uri).get_run(run.info.run_id)
    assert mlflow.artifacts.load_text(f"{again.info.artifact_uri}/a.txt") == "kept"


def test_a_tilde_is_the_home_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of me")
    address = store.tracking_uri("sqlite:///~/x.db")
    assert store.sqlite_file(address) == Path("/home/of me/x.db")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("sqlite://x.db", "Invalid SQLite URL"),
        ("sqlite:///x.db?mode=memory", "'mode' are not accepted"),
        ("sqlite:///x.db?timeout=long", "could not convert string to float"),
        ("sqlite:///x.db?timeout=60&timeout=70", "tuple"),
        (f"sqlite:///{'a' * 300}.db", "too long"),
        ("sqlite:////what?/x.db", "? is written as %3F"),
        ("sqlite:///file:x?mode=memory&uri=true", "path of a file"),
        ("sqlite:///C:\\runs\\x.db", "path of a file"),
        ("sqlite:///file:x.db", "path of a file"),
        ("sqlite:///C:/runs/x.db", "path of a file"),
        ("sqlite:///outputs/", "path of a file"),
        ("sqlite+nothing:///x.db", "sqlite.nothing"),
        ("sqlite+aiosqlite:///x.db", ""),
        ("sqlite:x.db", "such as sqlite:///outputs/mlflow.db"),
        ("sqlite:///x.db ", "such as sqlite:///outputs/mlflow.db"),
        ("databricks", "such as sqlite:///outputs/mlflow.db"),
    ],
)
def test_an_address_that_cannot_be_kept_or_understood_is_refused(
    address: str, why: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=re.escape(f"tracking.uri={address}: ")) as raised:
        store.connect(address)
    assert why in str(raised.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match=re.escape(f"MLFLOW_TRACKING_URI={address}: ")):
        store.connect(None)
    assert list(project.rglob("*")) == [project / "outputs"]


def test_a_study_of_a_search_is_kept_too(project: Path) -> None:
    with pytest.raises(UserError, match=r"hydra.sweeper.storage=sqlite://: would be lost"):
        trials.open_storage(trials.Settings("s", "sqlite://", 1, "tpe", "none", 1, 0))


def test_a_port_that_is_no_number_is_said() -> None:
    with pytest.raises(UserError, match=r"no server answers there .*nonnumeric port"):
        store.connect("http://host:port")
    with pytest.raises(UserError, match=r"no server answers there .*Invalid IPv6"):
        store.connect("http://[::1")


def test_a_deleted_experiment_is_named_with_what_restores_it(project: Path) -> None:
    client = store.connect(None)
    experiment = store.experiment_id(client, "old")
    client.delete_experiment(experiment)
    how = f"python -m mlflow experiments restore --experiment-id {experiment} restores it"
    with pytest.raises(UserError, match=f"experiment='old': was deleted; MLFLOW_TRA.* {how}"):
        store.experiment_id(client, "old")


def test_an_experiment_whose_artifacts_are_gone_is_refused(project: Path, tmp_path: Path) -> None:
    client = store.connect(f"sqlite:///{tmp_path.parent / tmp_path.name}.db")
    gone = project / "gone" / "outputs"
    client.create_experiment("x", artifact_location=(gone / "artifacts").as_uri())
    with pytest.raises(UserError, match=r"experiment='x': keeps artifacts in .*gone"):
        store.experiment_id(client, "x")
    gone.mkdir(parents=True)
    store.experiment_id(client, "x")


def test_a_deleted_run_can_be_ended_and_restored(project: Path) -> None:
    client = store.connect(None)
    run_id = client.create_run(store.experiment_id(client, "x")).info.run_id
    client.delete_run(run_id)
    store.end(client, run_id, "KILLED")
    assert client.get_run(run_id).info.status == "KILLED"
    assert store.is_deleted(client.get_run(run_id))
    command = store.restoring(client, "run", run_id).removesuffix(" restores it")
    typed = command.replace("python", sys.executable)
    subprocess.run(typed, shell=True, check=True, capture_output=True)
    assert not store.is_deleted(client.get_run(run_id))


def test_a_run_is_found_among_more_than_a_thousand_newer_ones(project: Path) -> None:
    client = store.connect(None)
    experiment = store.experiment_id(client, "x")
    run_id = client.create_run(experiment, start_time=1).info.run_id
    (twin,) = twins = [f"{run_id[:12]}{'0' * 20}"]
    with sqlite3.connect(store.sqlite_file(client.tracking_uri) or "") as db:
        columns = (
            "experiment_id, user_id, status, lifecycle_stage, start_time, artifact_uri, source_type"
        )
        select = "experiment_id, user_id, status, lifecycle_stage, 2, artifact_uri, source_type"
        others = [f"{n:032x}" for n in range(0xF0000000, 0xF0000000 + 1100)]
        db.executemany(
            f"INSERT INTO runs (run_uuid, {columns}) SELECT ?, {select} FROM runs WHERE run_uuid = ?",
            [(other, run_id) for other in (*others, *twins)],
        )
    db.close()
    assert find_run(client, run_id).info.run_id == run_id
    assert find_run(client, run_id[:13]).info.run_id in (run_id, twin)
    with pytest.raises(UserError, match=f"several runs start so; found: .*{run_id}"):
        find_run(client, run_id[:12])
    for nobody in ("abcdef0123", "x' OR 1 = 1 --", "%", "_" * 32):
        with pytest.raises(UserError, match="no such run"):
            find_run(client, nobody)


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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """A store for tests that do not mind what else is in it; making one takes a second."""
    return store.connect(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


def owned(client: MlflowClient, lock: str | None = None, **tags: str) -> Run:
    """A run with the tags of this process, but for some, and perhaps with the lock of its files."""
    experiment = store.experiment_id(client, "x")
    run = client.create_run(experiment, tags={**store.owner_tags(), **tags})
    if lock:
        held = lock_of(run_folder(run.info.run_id))
        held.acquire()
        if lock == "free":
            held.release()
        LOCKS.append(held)
    return run


LOCKS: list[FileLock] = []  # a lock that nobody knows any more is let go
CHILD = {store.PID: "999999999"}
OTHER = {store.BOOT: "another boot or pid:[1]"}
OLD = {store.BOOT: "", store.STARTED: "12345"}


@pytest.mark.parametrize(
    ("tags", "lock", "status"),
    [
        ({}, None, "RUNNING"),
        (CHILD, None, "KILLED"),
        (CHILD, "free", "KILLED"),
        (CHILD, "held", "RUNNING"),  # such as one of another user whom this one may not see
        ({store.STARTED: "1"}, None, "KILLED"),  # another process with the same number
        (OTHER, None, "RUNNING"),  # nobody can know
        (OTHER, "held", "RUNNING"),  # a container with the name of its host
        (OTHER, "free", "KILLED"),  # the machine was started again
        (CHILD | OLD, "held", "RUNNING"),
        (CHILD | OLD, "free", "KILLED"),
        ({store.HOST: "elsewhere"} | CHILD, "free", "RUNNING"),
    ],
)
def test_only_runs_that_surely_are_dead_are_closed(
    tags: dict[str, str], lock: str | None, status: str, shared: MlflowClient, project: Path
) -> None:
    client = shared
    run = owned(client, lock, **{key: value for key, value in tags.items() if value})
    if tags.get(store.BOOT) == "":
        client.delete_tag(run.info.run_id, store.BOOT)
    store.close_abandoned(client)
    assert client.get_run(run.info.run_id).info.status == status


def test_a_clock_that_is_set_does_not_end_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = store.owner_tags()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: 12345.0)
    assert store.is_alive(tags)
    assert tags == store.owner_tags()


def test_a_process_that_cannot_be_seen_gets_no_signal(project: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tags = {**store.owner_tags(), store.PID: str(child.pid), store.STARTED: store._start(child.pid)}
    assert store.is_other_process_here(tags)
    assert not store.is_other_process_here(tags | OTHER)
    child.communicate(b"\n")


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
    tags = {store.PID: str(child.pid), store.STARTED: store._start(child.pid)}
    assert store.is_alive(tags)
    process.kill()
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not store.is_alive(tags)
    child.communicate()
