"""`python -m expkit.ui` says what is missing instead of starting a server on nothing."""

import os
import socket
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from conftest import free_port
from expkit.commands import main, ui
from expkit.terminal.errors import UserError
from expkit.tracking import store


def test_without_runs_it_says_how_to_make_one(project: Path) -> None:
    with pytest.raises(UserError, match="there are no runs yet; make one with: python -m expkit"):
        ui.server(store.tracking_uri(None), 5000)
    assert not (project / "outputs" / "mlflow.db").exists()


def test_a_port_in_use_is_said_with_another(project: Path) -> None:
    store.connect(None)
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} .* in use; .* make ui PORT={port + 1}"):
            ui.server(store.tracking_uri(None), port)
    assert str(port) in ui.server(store.tracking_uri(None), port)


def test_a_server_has_a_ui_of_its_own() -> None:
    with pytest.raises(UserError, match=r"open http://\*\*\*@host:5000"):
        ui.server("http://me:secret@host:5000", 5000)


def test_a_port_is_a_port(project: Path) -> None:
    store.connect(None)
    with pytest.raises(UserError, match="from 1 to 65535"):
        ui.server(store.tracking_uri(None), 70000)


def test_all_users_of_a_machine_see_the_arguments_and_no_password() -> None:
    assert "secret" not in " ".join(ui.server("postgresql://me:secret@host/db", free_port()))


@pytest.mark.parametrize(
    "found", [[], [EntryPoint("expkit", "expkit.tracking.served:app", "mlflow.app")]]
)
def test_the_start_page_of_expkit_is_asked_for_where_it_is_installed(
    found: list[EntryPoint], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connect(None)
    monkeypatch.setattr(ui, "entry_points", lambda **_: found)
    command = ui.server(store.tracking_uri(None), free_port())
    assert ("--app-name expkit" in " ".join(command)) == bool(found)


def test_it_opens_on_the_view_of_the_last_experiment_and_reports_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = store.connect(None)
    experiment = client.create_experiment("x")
    client.create_run(experiment)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_BACKEND_STORE_URI"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    started: dict[str, Any] = {}
    monkeypatch.setattr(os, "execv", lambda *_: started.update(os.environ))
    port = free_port()
    with pytest.raises(SystemExit):
        main("ui", ["--port", str(port)])
    page = f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert f"{page}&viewStateShareKey=expkit " in capsys.readouterr().out
    assert started["MLFLOW_DISABLE_TELEMETRY"] == started["DO_NOT_TRACK"] == "true"


SERVED = """
import sys
from starlette.testclient import TestClient
from expkit.tracking.served import app
assert "torch" not in sys.modules
page = TestClient(app, base_url="http://127.0.0.1:5000").get("/")
assert page.status_code == 200, page
head = page.text.partition("<head>")[2]
assert head.startswith("<script>") and "mlflow.workflowType_v1" in head, head
assert "static-files" in head  # what MLflow's own page loads
assert TestClient(app, base_url="http://elsewhere.org").get("/").status_code == 403
assert TestClient(app, base_url="http://127.0.0.1:5000").get("/health").text == "OK"
"""


def test_the_start_page_sets_defaults_and_stays_behind_the_check_of_hosts(project: Path) -> None:
    store = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{project}/a.db"}
    done = subprocess.run(
        [sys.executable, "-c", SERVED], capture_output=True, text=True, env=os.environ | store
    )
    assert done.returncode == 0, done.stderr
