"""Send to MLflow what runs could not send while it was away.

Metrics, files, models and the states in which runs ended are sent in order, and each once. They go to the
project's store, or to the one that MLFLOW_TRACKING_URI names.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "ids of runs, or their first characters (default: all runs of the project)"
    parser.add_argument("runs", metavar="RUN_ID", nargs="*", help=about)
    return parser


def run(options: argparse.Namespace) -> bool:
    """Send what the runs have not sent, and return whether all of it has arrived."""
    from expkit.config.project import output_dir
    from expkit.terminal.display import say
    from expkit.tracking import outbox, store

    folders = [file.parent for file in sorted((output_dir() / "runs").glob(f"*/{outbox.FILE}"))]
    waiting = [folder for folder in folders if not outbox.is_all_sent(folder)]
    for given in options.runs:
        if not any(folder.name.startswith(given) for folder in waiting):
            known = ", ".join(folder.name for folder in waiting) or "none"
            raise UserError(
                f"{given}: no run with that id has anything to send; runs that have: {known}"
            )
    chosen = [folder for folder in waiting if folder.name.startswith(tuple(options.runs) or "")]
    client = store.connect(None)
    unsent = [folder for folder in chosen if not _sent(client, folder)]
    say(f"{len(chosen) - len(unsent)} of {len(chosen)} runs are complete in MLflow")
    return not unsent


def _sent(client: "MlflowClient", folder: Path) -> bool:
    """Send what one run has to say; returns False if something is left over or was refused."""
    from mlflow.exceptions import MlflowException

    from expkit.terminal.display import say
    from expkit.tracking import store
    from expkit.tracking.outbox import Outbox

    run_id = folder.name
    try:
        box = Outbox(client, run_id, folder)
    except UserError as error:  # the process that writes the run sends it too
        say(f"{error}; left alone")
        return True
    box.start()
    unsent = box.close(wait=0.0)
    try:
        box.raise_failure()
    except (MlflowException, OSError) as error:
        say(f"run {run_id}: MLflow refuses it: {str(error).splitlines()[0]}")
        return False
    if box.is_deleted:
        say(f"run {run_id} was deleted in MLflow; {store.restoring(client, 'run', run_id)}")
    say(f"run {run_id}: {f'{unsent} entries could not be sent' if unsent else 'all sent'}")
    return not unsent
