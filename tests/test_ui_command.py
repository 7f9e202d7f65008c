"""`python -m expkit.ui` says what is missing instead of starting a server on nothing."""

import socket
from pathlib import Path

import pytest

from expkit import ui
from expkit.errors import UserError
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
    with socket.socket() as found:
        found.bind((ui.HOST, 0))
        port = found.getsockname()[1]
    assert "secret" not in " ".join(ui.server("postgresql://me:secret@host/db", port))
