"""What can be written into an MLflow run, each as a mapping that JSON can hold.

All may be sent more than once: MLflow then has what it had before.
"""

import shutil
from collections.abc import Callable
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelStatus, Param

from expkit.config.project import output_dir, run_folder

Entry = dict[str, Any]  # its kind, and the arguments of the function below with that name

PARAM_BATCH = 100  # MLflow's own limit
LOCK_TIMEOUT = 10.0  # seconds, while somebody else's request takes long; it is tried again


def send(client: MlflowClient, run_id: str, entry: Entry) -> None:
    """Write one entry that holds no metrics."""
    arguments = {key: value for key, value in entry.items() if key != "kind"}
    KINDS[entry["kind"]](client, run_id, **arguments)


def _params(client: MlflowClient, run_id: str, values: dict[str, str]) -> None:
    """MLflow keeps the first value of a parameter, and refuses another."""
    there = client.get_run(run_id).data.params
    new = [Param(key, value) for key, value in values.items() if key not in there]
    for start in range(0, len(new), PARAM_BATCH):
        client.log_batch(run_id, params=new[start : start + PARAM_BATCH])


def _tags(client: MlflowClient, run_id: str, values: dict[str, str]) -> None:
    for key, value in values.items():
        client.set_tag(run_id, key, value)


def _inputs(client: MlflowClient, run_id: str, context: str, values: list[Any]) -> None:
    inputs = [
        DatasetInput(Dataset(**facts), tags=[InputTag(context, split)]) for split, facts in values
    ]
    # MLflow looks whether it knows a dataset and then adds it: of two runs that bring the same one
    # at the same moment it refuses one.
    with FileLock(output_dir() / ".datasets.lock", timeout=LOCK_TIMEOUT):
        client.log_inputs(run_id, inputs)


def _artifact(
    client: MlflowClient, run_id: str, path: str, folder: str | None, moves: bool
) -> None:
    """A file, or all that is in a folder; one that `moves` is not kept here.

    Paths of entries are those within the folder of the run: the project may move.
    """
    source = run_folder(run_id) / path
    if moves and not source.exists():
        return  # it has been sent
    if source.is_dir():
        client.log_artifacts(run_id, str(source), folder)
    else:
        client.log_artifact(run_id, str(source), folder)
    if moves:
        shutil.rmtree(source) if source.is_dir() else source.unlink()


def _model(client: MlflowClient, run_id: str, folder: str, **settings: Any) -> None:
    from expkit.tracking.model import log_model  # what it imports is not needed before

    logged = client.get_run(run_id).outputs.model_outputs
    # One whose files did not all arrive is logged once more, and is then the last one.
    if not logged or client.get_logged_model(logged[-1].model_id).status != LoggedModelStatus.READY:
        log_model(run_id, str(run_folder(run_id) / folder), **settings)


def _end(client: MlflowClient, run_id: str, status: str, time: int) -> None:
    client.set_terminated(run_id, status, end_time=time)


KINDS: dict[str, Callable[..., None]] = {
    "params": _params,
    "tags": _tags,
    "inputs": _inputs,
    "artifact": _artifact,
    "model": _model,
    "end": _end,
}
