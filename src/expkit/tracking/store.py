"""Open the store of runs, create it if it is new, and close the runs that dead processes left open."""

import getpass
import os
import shlex
import socket
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path, PureWindowsPath
from urllib.parse import parse_qsl, urlsplit

import psutil

# MLflow reads these when it is imported. Without the first one it reports its use over the network.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# The outbox tries again itself and tells the user; MLflow's own attempts take minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from sqlalchemy import make_url
from sqlalchemy.exc import SAWarning, SQLAlchemyError

from expkit.config.fitting import given_address, wrong_address
from expkit.config.project import output_dir, project_root, run_folder
from expkit.terminal.display import say
from expkit.terminal.errors import UserError, shortened
from expkit.terminal.secrets import redacted, remember, without_password
from expkit.tracking.moved import follow_project, local_path
from expkit.tracking.outbox import is_written
from expkit.tracking.past import runs_with, tag_of

HOST, PID = "mlflow.expkit.host", "mlflow.expkit.pid"
STARTED = "mlflow.expkit.process_started"
BOOT = "mlflow.expkit.boot"  # boot and process namespace; STARTED then counts clock ticks since that boot
REACHABLE_WITHIN = 5.0  # seconds in which a server or a database has to answer
# SQLAlchemy and the system raise these for a wrong address.
REFUSED = (SQLAlchemyError, SAWarning, ImportError, OSError, RuntimeError, TypeError, ValueError)
DATABASES = ("postgresql", "mysql", "mssql")  # MLflow can write into these without a server


def tracking_uri(configured: str | None) -> str:
    """Return the configured store, else MLFLOW_TRACKING_URI, else the project's own sqlite file."""
    key, given = given_address(configured)
    return kept_address(given or "sqlite:///outputs/mlflow.db", key)


def kept_address(given: str, key: str) -> str:
    """Return the address of a store, in which a relative sqlite file is one of the project.

    Raises:
        UserError: the address, which the user gave under `key`, is none that keeps anything.
    """
    why = wrong_address(given)
    if not why and given.startswith("sqlite"):
        try:
            url = make_url(given)
            if "?" in given:
                parse_qsl(given.partition("?")[2], strict_parsing=True)
            url.get_dialect().import_dbapi()
            with warnings.catch_warnings():
                warnings.simplefilter("error", SAWarning)  # SQLAlchemy ignores ?mode=memory
                url.get_dialect()().create_connect_args(url)
            name = url.database or ""
            file = project_root() / Path(name).expanduser()
            is_folder = file.is_dir()
        except REFUSED as error:
            why = f"{str(error).splitlines()[0]}; in a path, ? is written as %3F"
        else:
            is_of_windows = os.name != "nt" and PureWindowsPath(name).drive
            is_of_sqlite = "uri" in url.query or name.startswith("file:")
            is_async = url.get_dialect().is_async
            if is_folder or is_of_windows or is_of_sqlite or is_async:
                why = "expected the path of a file on this machine: sqlite:///relative or sqlite:////absolute"
            else:
                given = url.set(database=str(file)).render_as_string(hide_password=False)
    if why:
        raise UserError(f"{key}={without_password(given)}: {why}")
    return given


def sqlite_file(uri: str) -> Path | None:
    """Return the file at an address of sqlite; None for any other store."""
    return Path(make_url(uri).database or "") if uri.startswith("sqlite") else None


def connect(configured: str | None) -> MlflowClient:
    """Return a client of the store, which then exists and answers, and close the runs of dead processes."""
    uri = tracking_uri(configured)
    remember(uri)
    if without_password(uri) != uri:
        # MLflow would print the address of a run, and the password in it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    if uri.startswith("http"):
        _require_server(uri)
    elif uri.startswith(DATABASES):
        _require_database(uri)
    _use(uri)
    try:
        client = _opened(uri)
        close_abandoned(client)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = redacted(str(error)).splitlines()[0]
        raise UserError(
            f"tracking.uri={without_password(uri)}: the store cannot be opened: {reason}"
        ) from error
    return client


def _use(uri: str) -> None:
    """Make this the store of MLflow's functions, without changing the environment.

    MLflow also writes it into MLFLOW_TRACKING_URI, where the next run would take it for the user's choice.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if chosen is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = chosen


def _opened(uri: str) -> MlflowClient:
    file = sqlite_file(uri)
    if file is None:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        return client
    file.parent.mkdir(parents=True, exist_ok=True)
    # A new client creates the tables. Processes that do so at once disturb each other, and a process that is
    # killed meanwhile leaves half of them. So the file gets its name when it is complete.
    with FileLock(f"{file}.lock"):
        if not file.exists():
            unfinished = file.with_suffix(".unfinished")
            unfinished.unlink(missing_ok=True)
            there = make_url(uri).set(database=str(unfinished)).render_as_string(False)
            MlflowClient(there).search_experiments(max_results=1)
            unfinished.replace(file)
        client = MlflowClient(uri)
        if file.is_relative_to(project_root()):
            follow_project(uri)
        return client


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment with this name, and create it if it is new.

    A server of MLflow takes artifacts too; with any other store they stay in this project.
    """
    shown = f"tracking.experiment={shortened(name, 100)!r}"
    local = str(client.tracking_uri).startswith(("sqlite", *DATABASES))
    if found := client.get_experiment_by_name(name):
        if found.lifecycle_stage == "deleted":
            how = restoring(client, "experiment", found.experiment_id)
            raise UserError(f"{shown}: was deleted; {how}, or take another name")
        folder = local_path(found.artifact_location) if local else None
        if folder and not folder.parent.is_dir():
            raise UserError(
                f"{shown}: keeps artifacts in {folder}, and {folder.parent} is gone; if it was moved, "
                "make a link there that leads to it, or take another name"
            )
        return str(found.experiment_id)
    location = (output_dir() / "artifacts").as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        found = client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise UserError(f"{shown}: {redacted(str(error)).splitlines()[0]}") from error
        return str(found.experiment_id)


def experiment_ids(client: MlflowClient) -> list[str]:
    """Return the ids of all experiments that are not deleted."""
    return [e.experiment_id for e in client.search_experiments(max_results=50_000)]


def end(client: MlflowClient, run_id: str, status: str) -> None:
    """Set the state in which a run has ended; a deleted one is restored for this moment."""
    if deleted := is_deleted(client.get_run(run_id)):
        client.restore_run(run_id)
    client.set_terminated(run_id, status)
    if deleted:
        client.delete_run(run_id)


def is_deleted(found: MlflowRun) -> bool:
    """Return whether a run was deleted, alone or with its experiment; MLflow then lets nobody write it."""
    return bool(found.info.lifecycle_stage == "deleted")


@contextmanager
def unless_deleted(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Skip the rest of the block, and say so, if the run turns out to be deleted."""
    try:
        yield
    except MlflowException:
        if not is_deleted(client.get_run(run_id)):
            raise
        say(
            f"run {run_id} was deleted in MLflow and stays as it is; {restoring(client, 'run', run_id)}"
        )


def restoring(client: MlflowClient, kind: str, which: str) -> str:
    """Say which command restores a deleted `run` or `experiment`, given by its id."""
    uri = shlex.quote(without_password(str(client.tracking_uri)))
    command = f"python -m mlflow {kind}s restore --{kind}-id {which}"
    return f"MLFLOW_TRACKING_URI={uri} {command} restores it"


def owner_tags() -> dict[str, str]:
    """Return tags that say which process writes a run."""
    here = {HOST: socket.gethostname(), PID: str(os.getpid()), STARTED: _start("self")}
    return here | ({BOOT: _boot()} if _boot() else {})


def source_tags() -> dict[str, str]:
    """Return tags for the UI's columns User and Source."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, the number of the user may have no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    source = {"mlflow.source.name": "expkit", "mlflow.source.type": "LOCAL"}
    return {"mlflow.user": user, **source}


def close_abandoned(client: MlflowClient) -> None:
    """Mark as KILLED the runs that are RUNNING although their process on this host is gone."""
    running, here = "attributes.status = 'RUNNING' and ", socket.gethostname()
    for run in runs_with(client, experiment_ids(client), HOST, here, also=running):
        if not is_at_work(run):
            client.set_terminated(run.info.run_id, status="KILLED")


def is_at_work(run: MlflowRun) -> bool:
    """Return whether a process still writes this run, whose host has the name of this one.

    Another container or machine may have the same name, so a process that is not visible here may live. The
    lock of the run's files decides; if there is no lock here, such a process counts as alive.
    """
    held = is_written(run_folder(run.info.run_id))
    is_elsewhere = tag_of(run.data.tags, BOOT, _boot()) != _boot()
    return is_alive(run.data.tags) or (is_elsewhere if held is None else held)


def is_alive(tags: Mapping[str, str]) -> bool:
    """Return whether the process that `owner_tags` describe is visible here and alive."""
    try:
        process = psutil.Process(int(tag_of(tags, PID)))
        is_elsewhere = tag_of(tags, BOOT, _boot()) != _boot()
        if process.status() == psutil.STATUS_ZOMBIE or is_elsewhere:
            return False
        return _start(process.pid) == tag_of(tags, STARTED)
    except (psutil.NoSuchProcess, ValueError):
        return False


def _boot() -> str:
    """Return what identifies this boot and this process namespace; empty on systems other than Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start(pid: int | str) -> str:
    """Return when a process began, in ticks since the boot: setting the clock does not change them."""
    if not _boot():
        return f"{psutil.Process(None if pid == 'self' else int(pid)).create_time():.0f}"
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        raise psutil.NoSuchProcess(int(pid)) from None


def is_other_process_here(tags: Mapping[str, str]) -> bool:
    """Return whether the owner that these tags describe is another living process visible here."""
    is_here = tag_of(tags, HOST) == socket.gethostname()
    return is_here and tag_of(tags, PID) != str(os.getpid()) and is_alive(tags)


def terminate_owner(tags: Mapping[str, str]) -> None:
    """Send SIGTERM to the process that these tags of a run describe."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(tag_of(tags, PID))).terminate()


def _require_server(uri: str) -> None:
    """Raise a UserError if no server answers; MLflow itself would try for minutes."""
    try:
        address = urlsplit(uri)
        host, path = address.netloc.rpartition("@")[2], address.path.rstrip("/")
        health = f"{address.scheme}://{host}{path}/health"
        urllib.request.urlopen(health, timeout=REACHABLE_WITHIN).close()
    except urllib.error.HTTPError:
        return  # a server answers; MLflow finds out whether it allows the request
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"tracking.uri={without_password(uri)}: no server answers there ({reason}); "
            "start it, or leave tracking.uri and MLFLOW_TRACKING_URI unset to use the project's own store"
        ) from error


def _require_database(uri: str) -> None:
    """Raise a UserError if the database cannot be opened; MLflow would try for minutes."""
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
        reason = redacted(str(getattr(error, "orig", error))).splitlines()[0]
        raise UserError(
            f"{shown}: no database can be opened there ({reason}); "
            "leave tracking.uri and MLFLOW_TRACKING_URI unset to use the project's own store"
        ) from error
