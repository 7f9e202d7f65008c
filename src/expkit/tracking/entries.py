"""The kinds of entries that an outbox sends to MLflow, each a mapping that JSON can hold.

An entry may be sent again: MLflow then holds the same as before.
"""

import shutil
from collections.abc import Callable
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelStatus, Param

from expkit.config.project import output_dir, run_folder
from expkit.tracking.registry import register

Entry = dict[str, Any]  # the entry's kind, and the arguments of the function for it in KINDS

PARAM_BATCH = 100  # parameters in one request, which is MLflow's own limit
DATASETS_LOCKED_FOR = 10.0  # seconds to wait for another run; the outbox then tries again


def send(client: MlflowClient, run_id: str, entry: Entry) -> None:
    """Send one entry of any kind but metrics, which the outbox sends itself."""
    arguments = {key: value for key, value in entry.items() if key != "kind"}
    KINDS[entry["kind"]](client, run_id, **arguments)


def _params(client: MlflowClient, run_id: str, values: dict[str, str]) -> None:
    """Log the parameters that the run does not have yet; MLflow refuses to change a value."""
    there = client.get_run(run_id).data.params
    new = [Param(key, value) for key, value in values.items() if key not in there]
    for start in range(0, len(new), PARAM_BATCH):
        client.log_batch(run_id, params=new[start : start + PARAM_BATCH])


def _tags(client: MlflowClient, run_id: str, values: dict[str, str]) -> None:
    for key, value in values.items():
        client.set_tag(run_id, key, value)


def _inputs(client: MlflowClient, run_id: str, context: str, values: list[Any]) -> None:
    inputs = [
        DatasetInput(Dataset(**dataset), tags=[InputTag(context, split)])
        for split, dataset in values
    ]
    # MLflow looks up a dataset and then adds it. If two runs add the same one at once, it refuses one.
    with FileLock(output_dir() / ".datasets.lock", timeout=DATASETS_LOCKED_FOR):
        client.log_inputs(run_id, inputs)


def _artifact(
    client: MlflowClient, run_id: str, path: str, folder: str | None, moves: bool
) -> None:
    """Log a file or the content of a folder, and remove it afterwards if it `moves`.

    `path` is relative to the folder of the run, because the project may be moved before it is sent.
    """
    source = run_folder(run_id) / path
    if moves and not source.exists():
        return  # an earlier attempt has sent it
    if source.is_dir():
        client.log_artifacts(run_id, str(source), folder)
    else:
        client.log_artifact(run_id, str(source), folder)
    if moves:
        shutil.rmtree(source) if source.is_dir() else source.unlink()


def _model(
    client: MlflowClient, run_id: str, folder: str, register_as: Any = None, **settings: Any
) -> None:
    from expkit.tracking.model import log_model  # its imports take seconds

    logged = client.get_run(run_id).outputs.model_outputs
    # A model whose files did not all arrive is logged once more; the last one counts.
    if not logged or client.get_logged_model(logged[-1].model_id).status != LoggedModelStatus.READY:
        log_model(run_id, str(run_folder(run_id) / folder), **settings)
    if register_as:
        register(client, run_id, *register_as)


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
