"""Where runs are kept: find the store, make it if it is new, close what dead processes left open."""

import getpass
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

# Before MLflow is imported: it would otherwise report its use over the network.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# It would stand between a command and its message.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# The outbox tries again itself, and says so; MLflow's own attempts take minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from expkit.config.project import output_dir, project_root
from expkit.errors import UserError
from expkit.secrets import hidden, remember, without_password

HOST, PID, STARTED = "expkit.host", "expkit.pid", "expkit.process_started"
REACHABLE_WITHIN = 5.0  # seconds
DATABASES = ("postgresql", "mysql", "mssql")  # MLflow writes into them without a server of its own


def tracking_uri(configured: str | None) -> str:
    """The configured store, else MLFLOW_TRACKING_URI, else the project's own sqlite file."""
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///outputs/mlflow.db"
    prefix = "sqlite:///"
    if uri.startswith(prefix) and not uri.startswith("sqlite:////"):
        return f"{prefix}{project_root() / uri.removeprefix(prefix)}"
    return uri


def connect(configured: str | None) -> MlflowClient:
    """A client of the store, which exists and answers.

    Raises:
        UserError: the store cannot be reached or made.
    """
    uri = tracking_uri(configured)
    remember(uri)
    if without_password(uri) != uri:
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # of the run, at its end
    if uri.startswith("http"):
        _require_server(uri)
    elif uri.startswith(DATABASES):
        _require_database(uri)
    _use(uri)
    try:
        client = _opened(uri)
        close_abandoned(client)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = hidden(str(error)).splitlines()[0]
        raise UserError(
            f"tracking.uri={without_password(uri)}: the store cannot be opened: {reason}"
        ) from error
    return client


def _use(uri: str) -> None:
    """Make it the store of this process; MLflow would also write it into the environment.

    There the next run of the process would take it for the user's choice.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if chosen is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = chosen


def _opened(uri: str) -> MlflowClient:
    if not uri.startswith("sqlite"):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        return client
    file = Path(uri.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    # Making a client makes the tables; processes that do so at the same time break each other, and
    # one that is killed meanwhile leaves half of them. So the file gets its name when it is whole.
    with FileLock(f"{file}.lock"):
        if not file.exists():
            unfinished = file.with_suffix(".unfinished")
            unfinished.unlink(missing_ok=True)
            MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
            unfinished.replace(file)
        return MlflowClient(uri)


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, made if it is new.

    Only a server of MLflow takes artifacts; with a database they stay in this project.
    """
    if found := client.get_experiment_by_name(name):
        if found.lifecycle_stage == "deleted":
            raise UserError(
                f"tracking.experiment={name!r}: was deleted; restore it or take another name"
            )
        return str(found.experiment_id)
    local = str(client.tracking_uri).startswith(("sqlite", *DATABASES))
    location = (output_dir() / "artifacts").as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise
        return str(found.experiment_id)


def owner_tags() -> dict[str, str]:
    """Tags that say which process writes a run."""
    process = psutil.Process()
    return {
        HOST: socket.gethostname(),
        PID: str(process.pid),
        STARTED: f"{process.create_time():.0f}",
    }


def source_tags() -> dict[str, str]:
    """Tags for the UI's columns User and Source."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return {
        "mlflow.user": user,
        "mlflow.source.name": "expkit",
        "mlflow.source.type": "LOCAL",
    }


def close_abandoned(client: MlflowClient) -> None:
    """Mark runs as KILLED that are RUNNING although their process on this host is gone."""
    running = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        filter_string=f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{socket.gethostname()}'",
        run_view_type=ViewType.ACTIVE_ONLY,
    )
    for run in running:
        if not is_alive(run.data.tags):
            client.set_terminated(run.info.run_id, status="KILLED")


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process of this host that `owner_tags` describe is still there."""
    try:
        process = psutil.Process(int(tags[PID]))
        is_the_same = abs(process.create_time() - float(tags[STARTED])) < 2
        return is_the_same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False


def is_alive_here(tags: Mapping[str, str]) -> bool:
    """Whether a living process of this host owns a run with these tags."""
    return tags.get(HOST) == socket.gethostname() and is_alive(tags)


def is_other_process_here(tags: Mapping[str, str]) -> bool:
    """Whether a living process of this host, but not this one, owns a run with these tags."""
    return tags.get(PID) != str(os.getpid()) and is_alive_here(tags)


def terminate_owner(tags: Mapping[str, str]) -> None:
    """Send SIGTERM to the process that owns a run."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(tags[PID])).terminate()


def _require_server(uri: str) -> None:
    """MLflow itself would try for minutes."""
    address = urlsplit(uri)
    health = (
        f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}/health"
    )
    try:
        urllib.request.urlopen(health, timeout=REACHABLE_WITHIN).close()
    except urllib.error.HTTPError:
        return  # something answers; whether it lets us in is MLflow's to find out
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"tracking.uri={without_password(uri)}: no server answers there ({reason}); "
            "start it, or leave tracking.uri and MLFLOW_TRACKING_URI unset to use the project's own store"
        ) from error


def _require_database(uri: str) -> None:
    """MLflow itself would try for minutes, and end with a traceback."""
    shown = f"tracking.uri={without_password(uri)}"
    waits = {} if uri.startswith("mssql") else {"connect_timeout": int(REACHABLE_WITHIN)}
    try:
        engine = sqlalchemy.create_engine(uri, connect_args=waits)
        engine.connect().close()
        engine.dispose()
    except ImportError as error:
        hint = ": pip install 'expkit[postgres]'" if uri.startswith("postgresql:") else ""
        reason = str(error).splitlines()[0]
        raise UserError(f"{shown}: its driver is not installed ({reason}){hint}") from error
    except (SQLAlchemyError, ValueError) as error:
        reason = hidden(str(getattr(error, "orig", error))).splitlines()[0]
        raise UserError(
            f"{shown}: no database can be opened there ({reason}); "
            "leave tracking.uri and MLFLOW_TRACKING_URI unset to use the project's own store"
        ) from error
