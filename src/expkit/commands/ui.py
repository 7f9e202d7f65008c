"""Open the MLflow UI on the project's runs."""

import argparse
import os
import socket
import sys
from importlib.metadata import entry_points

from expkit.terminal.errors import UserError
from expkit.terminal.secrets import without_password
from expkit.tracking.store import connect, sqlite_file, tracking_uri
from expkit.tracking.views import start_page

HOST = "127.0.0.1"
APP = "expkit"  # the name of `expkit.tracking.served` among MLflow's applications


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of this machine; default 5000")
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the address, and become the server."""
    uri = tracking_uri(None)
    started = server(uri, options.port)
    page = start_page(connect(None))
    print(f"http://{HOST}:{options.port}/{page}   (Ctrl-C ends it)", flush=True)
    # Not among the arguments, which all users of a machine may see: it may hold a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # MLflow would start processes for its own jobs, such as judging traces, which runs do not need.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # The server would ask a host outside what the UI is to report, and the UI would report it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.execv(started[0], started)


def server(uri: str, port: int) -> list[str]:
    """The command that serves the UI of a store, which comes to it as MLFLOW_BACKEND_STORE_URI.

    Raises:
        UserError: there are no runs yet, or there is nothing to start.
    """
    if uri.startswith("http"):
        raise UserError(f"the runs are on a server that has a UI: open {without_password(uri)}")
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        # MLflow would make an empty store, and show nothing in it.
        raise UserError(f"{file}: there are no runs yet; make one with: python -m expkit")
    if not is_free(port):
        raise UserError(f"port {port} of {HOST} is in use; try another: make ui PORT={port + 1}")
    options = ["--host", HOST, "--port", str(port), "--workers", "1"]
    if entry_points(group="mlflow.app", name=APP):  # not in an installation of an earlier version
        options += ["--app-name", APP]
    return [sys.executable, "-m", "mlflow", "ui", *options]


def is_free(port: int) -> bool:
    """Whether a server can listen there."""
    if not 0 < port < 2**16:
        raise UserError(f"port {port}: a port is a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
