"""A real MLflow server over a real PostgreSQL, as docs/tracking-server says; and PostgreSQL alone."""

import base64
import gzip
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import CHECKOUT, TINY, Command, free_port
from expkit.terminal.errors import UserError
from expkit.tracking import store
from expkit.tracking.outbox import FILE, Outbox, read

pytestmark = pytest.mark.slow

DOCS = CHECKOUT / "docs" / "tracking-server"
ADMIN, USER, OWNER = "admin", "anna", "mlflow"  # two of the server, one of the database
# Where Debian keeps what is not for users: each version has a folder.
BINARIES = sorted(
    Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda f: float(f.parts[-3])
)
# Of a log: PostgreSQL's levels, Python's, and answers that say that a request has failed.
TROUBLE = re.compile(r'(?i)error|fatal|panic|critical|traceback|exception|deadlock|" [45]\d\d\b')
EXPECTED = re.compile(
    r'experiments/get-by-name\S* HTTP/1.1" 404'
)  # of one that is about to be made
STEPS = [1, 2, 3, 4]
BY_STEP = ("train/loss", "train/learning_rate", "train/grad_norm")


@dataclass
class Database:
    """A PostgreSQL of its own."""

    port: int
    password: str
    log: Path

    def address(self, name: str, user: str = OWNER, password: str | None = None) -> str:
        password = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{name}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def dump(self, name: str) -> bytes:
        """All rows of a database."""
        command = [str(BINARIES[-1].with_name("pg_dump")), "--data-only", self.address(name)]
        return subprocess.run(command, capture_output=True, check=True).stdout


@dataclass
class Server:
    """The MLflow server of docs/tracking-server, with the environment of one who uses it."""

    address: str
    admin_password: str
    password: str
    artifacts: Path
    log: Path

    def environment(self, password: str | None = None) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self.password if password is None else password,
        }


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    tools = BINARIES[-1].parent
    # PostgreSQL refuses to be root, and nobody else may look into pytest's folders.
    owner = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="expkit-postgres-") as name:
        folder = Path(name)
        found = Database(free_port(), f"{secrets.token_urlsafe(12)}/#@", folder / "log")
        (folder / "password").write_text(found.password)
        if owner:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")

        def call(program: str, *arguments: str) -> None:
            command = [str(tools / program), "--pgdata", str(folder / "data"), *arguments]
            with (folder / "calls").open("a") as out:  # a pipe would stay open in the server
                done = subprocess.run(command, stdout=out, stderr=out, cwd=folder, **owner)  # type: ignore[call-overload]
            assert done.returncode == 0, (folder / "calls").read_text()

        by_password = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        call("initdb", f"--username={OWNER}", *by_password, "--encoding=UTF8", "--locale=C")
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = " ".join(f"-c {key}='{value}'" for key, value in settings.items())
        options += f" -p {found.port}"
        call("pg_ctl", "start", "--wait", f"--log={found.log}", f"--options={options}")
        try:
            yield found
        finally:
            call("pg_ctl", "stop", "--mode=immediate")


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database.execute("CREATE DATABASE mlflow")
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    admin_password, password = secrets.token_urlsafe(16), f"{secrets.token_urlsafe(12)} /#@"
    address = f"http://127.0.0.1:{port}"
    found = Server(address, admin_password, password, folder / "artifacts", folder / "log")
    here = {
        "${POSTGRES_PASSWORD:?}": json.dumps(database.password),
        "${MLFLOW_ADMIN_PASSWORD:?}": admin_password,
        "${MLFLOW_SECRET_KEY:?}": secrets.token_hex(16),
        "@database/": f"@127.0.0.1:{database.port}/",
        "/etc/mlflow/": f"{folder}/",
        "/srv/artifacts": str(found.artifacts),
        "--host 0.0.0.0 --port 5000": f"--host 127.0.0.1 --port {port}",
    }

    def adapted(file: str) -> str:
        text = (DOCS / file).read_text()
        for there, value in here.items():
            text = text.replace(there, value)
        return text

    (folder / "basic-auth.ini").write_text(adapted("basic-auth.ini"))
    service = yaml.safe_load(adapted("compose.yaml"))["services"]["server"]
    with found.log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *shlex.split(service["command"])],
            cwd=folder,
            env={**os.environ, **service["environment"]},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 600
        while not answers(address):
            assert process.poll() is None, found.log.read_text()
            assert time.monotonic() < deadline, found.log.read_text()
            time.sleep(0.2)
        make_user(found)
        yield found
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/health", timeout=2).close()
    except OSError:
        return False
    return True


def make_user(server: Server) -> None:
    key = base64.b64encode(f"{ADMIN}:{server.admin_password}".encode()).decode()
    request = urllib.request.Request(
        f"{server.address}/api/2.0/mlflow/users/create",
        data=json.dumps({"username": USER, "password": server.password}).encode(),
        headers={"Authorization": f"Basic {key}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture
def user(server: Server, monkeypatch: pytest.MonkeyPatch, project: Path) -> MlflowClient:
    """The client of one who has set the three variables."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return MlflowClient(server.address)


def runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def steps(client: MlflowClient, run: Run, metric: str) -> list[int]:
    return [value.step for value in client.get_metric_history(run.info.run_id, metric)]


def troubles(text: str) -> list[str]:
    return [
        line for line in text.splitlines() if TROUBLE.search(line) and not EXPECTED.search(line)
    ]


def contents(folders: Iterable[Path]) -> bytes:
    """Of all files below them."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return b"\n".join(
        gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for file in files
    )


def leaks(left: bytes, *passwords: str) -> list[bytes]:
    """Passwords that are there: as they are, in an address, or in the header of a request."""
    forms = []
    for password in passwords:
        header = base64.b64encode(f"{USER}:{password}".encode()).decode()
        forms += [password, quote(password), quote(password, safe=""), header]
    return [form.encode() for form in forms if form.encode() in left]


def test_eight_parallel_jobs_log_everything_and_no_password(
    python: Command, project: Path, user: MlflowClient, server: Server, database: Database
) -> None:
    logs = {log: log.stat().st_size for log in (server.log, database.log)}
    done = python(
        *("-m", "seed=1,2,3,4,5,6,7,8", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        *(*TINY, f"train.max_steps={STEPS[-1]}", "train.eval_every=2", "tracking.log_model=false"),
        "tracking.experiment=sweep",
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert troubles(said) == []
    for log, before in logs.items():
        assert troubles(log.read_bytes()[before:].decode()) == []

    found = runs(user)
    (parent,) = [run for run in found if run.data.tags.get("mlflow.expkit.kind") == "sweep"]
    jobs = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(found) == 9
    assert [run.info.status for run in (parent, *jobs)] == ["FINISHED"] * 9
    assert sorted(run.data.params["seed"] for run in jobs) == list("12345678")
    for run in jobs:
        for metric in BY_STEP:
            assert steps(user, run, metric) == STEPS, (run.info.run_name, metric)
        for metric in ("eval/loss", "eval/f1"):
            assert steps(user, run, metric) == [2, 4], "two evaluations"
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        assert "run.yaml" in {file.path for file in user.list_artifacts(run.info.run_id)}

    left = contents((project, server.artifacts)) + database.dump("mlflow")
    left += said.encode() + server.log.read_bytes() + database.log.read_bytes()
    assert b"tiny_bert" in left
    assert USER.encode() in left
    assert leaks(left, server.password, server.admin_password, database.password) == []


def test_a_clash_with_another_project_is_no_failure_and_no_message(
    project: Path,
    user: MlflowClient,
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import psycopg

    experiment = user.create_experiment("clash")
    run_id = user.create_run(experiment).info.run_id
    facts = {"name": "demo", "digest": "d", "source_type": "local", "source": "{}"}
    box = Outbox(user, run_id, tmp_path)
    box.put({"kind": "inputs", "context": "data", "values": [("train", facts)]})
    insert = (
        "INSERT INTO datasets (experiment_id, dataset_uuid, name, digest, dataset_source_type, "
        "dataset_source) VALUES (%s, 'theirs', 'demo', 'd', 'local', '{}')"
    )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with (
        psycopg.connect(database.address("mlflow")) as theirs,
        psycopg.connect(database.address("mlflow"), autocommit=True) as looks,
    ):
        theirs.execute(insert, (int(experiment),))
        box.start()
        until(lambda: looks.execute(waiting).fetchone() == (1,))
        theirs.commit()
    assert box.close() == 0
    box.raise_failure()
    (known,) = user.get_run(run_id).inputs.dataset_inputs
    assert (known.dataset.name, known.dataset.digest) == ("demo", "d")
    assert "".join(capsys.readouterr()) == ""


def test_a_model_comes_back_through_the_server(
    expkit: Command, project: Path, user: MlflowClient, server: Server
) -> None:
    done = expkit(*TINY, "train.max_steps=2", "tracking.experiment=model")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (project / "outputs" / "runs").iterdir()
    mlflow.set_tracking_uri(server.address)  # an earlier test may have set another
    fetched = Path(mlflow.artifacts.download_artifacts(f"runs:/{folder.name}/model"))
    (weights,) = fetched.rglob("model.safetensors")
    assert weights.read_bytes() == (folder / "model" / "model.safetensors").read_bytes()
    left = contents((project, server.artifacts, fetched)) + (done.stdout + done.stderr).encode()
    assert leaks(left, server.password) == []


def test_a_wrong_password_of_a_user_is_one_message(
    server: Server, user: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", wrong := secrets.token_urlsafe(16))
    with pytest.raises(UserError, match=r"the store cannot be opened: .*401") as raised:
        store.connect(None)
    assert wrong not in str(raised.value)


def test_postgresql_alone_is_a_store_also_when_it_is_away_for_a_while(
    project: Path, database: Database
) -> None:
    database.execute("CREATE DATABASE alone")
    output = project / "output"
    last = 400
    options = (*TINY, f"train.max_steps={last}", "train.eval_every=200")
    with output.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "expkit", *options],
            cwd=project,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": database.address("alone"),
                "OMP_NUM_THREADS": "1",
            },
            stdout=said,
            stderr=said,
        )
    until(lambda: process.poll() is not None or written(project) >= 20)
    assert process.poll() is None, output.read_text()
    database.execute(
        "ALTER DATABASE alone ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'alone'",
    )
    until(lambda: process.poll() is not None or "MLflow does not answer" in output.read_text())
    assert process.poll() is None, output.read_text()
    database.execute("ALTER DATABASE alone ALLOW_CONNECTIONS true")
    process.wait(timeout=600)
    said_all = output.read_text()
    assert process.returncode == 0, said_all
    assert "MLflow answers again" in said_all
    assert "Traceback" not in said_all

    client = MlflowClient(database.address("alone"))
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    for metric in BY_STEP:
        assert steps(client, run, metric) == list(range(1, last + 1)), metric
    assert steps(client, run, "eval/f1") == [200, 400]
    artifacts = project / "outputs" / "artifacts"
    assert run.info.artifact_uri.startswith(artifacts.as_uri())
    assert list(artifacts.rglob("model.safetensors"))
    assert not (project / "mlruns").exists()
    left = contents((project,)) + database.dump("alone")
    assert leaks(left, database.password) == []


def written(project: Path) -> int:
    """Steps that a run has put into its outbox."""
    files = list((project / "outputs" / "runs").glob(f"*/{FILE}"))
    return sum(entry["kind"] == "metrics" for file in files for entry in read(file))


def until(holds: Any, within: float = 600) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_wrong_password_of_the_database_ends_a_command_with_one_message(
    expkit: Command, project: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = f"{secrets.token_urlsafe(12)}/#@"
    address = database.address("postgres", password=wrong)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    done = expkit(*TINY, timeout=600)
    assert done.returncode == 1
    (message,) = done.stderr.splitlines()
    assert 'password authentication failed for user "mlflow"' in message
    assert message.startswith(f"expkit: tracking.uri=postgresql://***@127.0.0.1:{database.port}/")
    assert leaks((done.stdout + done.stderr).encode() + contents((project,)), wrong) == []


def test_a_database_where_nothing_may_be_made_is_one_message(database: Database) -> None:
    password = secrets.token_urlsafe(12)
    database.execute(
        f"CREATE ROLE reader LOGIN PASSWORD '{password}'",
        "CREATE DATABASE closed",
    )
    database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="closed")
    with pytest.raises(UserError, match=r"cannot be opened: .*permission denied") as raised:
        store.connect(database.address("closed", "reader", password))
    assert password not in str(raised.value)


def test_the_image_holds_the_versions_that_were_tested() -> None:
    tested = (CHECKOUT / "constraints.txt").read_text().splitlines()
    image = yaml.safe_load((DOCS / "compose.yaml").read_text())["services"]["server"]["build"]
    installed = re.findall(r"\S+==\S+", image["dockerfile_inline"])
    assert len(installed) == 4
    for package in installed:
        assert re.sub(r"\[.*\]", "", package) in tested
