"""Send to MLflow what runs could not send while it was away.

Metrics, files, models and how the runs ended arrive in order, and once. The store is the one of the project,
or that of MLFLOW_TRACKING_URI.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", metavar="RUN_ID", nargs="*", help="or its first characters; default: all of them"
    )
    return parser


def run(options: argparse.Namespace) -> bool:
    """Send, and return whether all of it has arrived."""
    return sync(options.runs)


def sync(runs: Sequence[str]) -> bool:
    """Whether all that was to be sent has arrived.

    Args:
        runs: ids, or first characters of them; none: every run of the project.

    Raises:
        UserError: a run has nothing to be sent, or MLflow cannot be reached.
    """
    from expkit.config.project import output_dir
    from expkit.terminal.display import say
    from expkit.tracking import outbox, store

    found = sorted((output_dir() / "runs").glob(f"*/{outbox.FILE}"))
    files = {f.parent.name: f for f in found if not outbox.is_all_sent(f.parent)}
    for given in runs:
        if not any(run_id.startswith(given) for run_id in files):
            known = ", ".join(files) or "none"
            raise UserError(f"{given}: nothing of that run is to be sent; there is: {known}")
    chosen = [run_id for run_id in files if not runs or run_id.startswith(tuple(runs))]
    client = store.connect(None)
    unsent = [run_id for run_id in chosen if not _sent(client, run_id, files[run_id])]
    say(f"{len(chosen) - len(unsent)} of {len(chosen)} runs are complete in MLflow")
    return not unsent


def _sent(client: "MlflowClient", run_id: str, file: Path) -> bool:
    from mlflow.exceptions import MlflowException

    from expkit.terminal.display import say
    from expkit.tracking import store
    from expkit.tracking.outbox import Outbox

    try:
        box = Outbox(client, run_id, file.parent)
    except UserError as error:
        say(f"{error}; left alone")
        return True
    box.start()
    unsent = box.close(wait=0.0)
    try:
        box.raise_failure()
    except (MlflowException, OSError) as error:
        say(f"run {run_id}: MLflow refuses it: {str(error).splitlines()[0]}")
        return False
    if not unsent:
        box.done()
    if box.is_deleted:
        say(f"run {run_id} was deleted in MLflow; {store.restoring(client, 'run', run_id)}")
    say(f"run {run_id}: {f'{unsent} entries could not be sent' if unsent else 'all sent'}")
    return not unsent
