"""Open the MLflow UI on the project's runs."""

import argparse
import os
import socket
import sys
from importlib.metadata import entry_points

from expkit.terminal.errors import UserError
from expkit.terminal.secrets import without_password

HOST = "127.0.0.1"
APP = "expkit"  # the name that pyproject.toml gives `expkit.tracking.served`, for `mlflow ui --app-name`


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "port of this machine that the server uses (default: 5000)"
    parser.add_argument("--port", type=int, default=5000, help=about)
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the address, and replace this process by the server."""
    from expkit.tracking.store import connect, tracking_uri
    from expkit.tracking.views import start_page

    uri = tracking_uri(None)
    started = server(uri, options.port)
    page = start_page(connect(None))
    print(f"http://{HOST}:{options.port}/{page}   (Ctrl-C ends it)", flush=True)
    # The address may hold a password, and every user of the machine can read arguments.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # MLflow would start processes for jobs that runs do not need, such as judging traces.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # The server would ask a host on the internet what the UI has to report about its use.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.execv(started[0], started)


def server(uri: str, port: int) -> list[str]:
    """Return the command that serves the UI of the store that MLFLOW_BACKEND_STORE_URI names.

    Raises:
        UserError: the store has no runs yet, it has a server of its own, or the port is not free.
    """
    from expkit.tracking.store import sqlite_file

    if uri.startswith("http"):
        raise UserError(f"the runs are on a server that has a UI: open {without_password(uri)}")
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        # MLflow would make an empty store and show that.
        raise UserError(f"{file}: there are no runs yet; make one with: python -m expkit")
    if not is_free(port):
        raise UserError(f"port {port} of {HOST} is in use; try another: make ui PORT={port + 1}")
    options = ["--host", HOST, "--port", str(port), "--workers", "1"]
    if entry_points(group="mlflow.app", name=APP):  # an older installation lacks it
        options += ["--app-name", APP]
    return [sys.executable, "-m", "mlflow", "ui", *options]


def is_free(port: int) -> bool:
    """Return whether a server can listen on the port."""
    if not 0 < port < 2**16:
        raise UserError(f"port {port}: a port is a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the server does so too
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
