"""Register logged models in MLflow, as versions of a name, and perhaps under an alias."""

from contextlib import suppress

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from expkit.processes.context import job_context
from expkit.terminal.display import say
from expkit.terminal.errors import UserError


def target_of(asked: str) -> tuple[str, str]:
    """Return name and alias of `name@alias`; no alias in a job, as its sweep gives that to the best one."""
    name, _, alias = asked.partition("@")
    return name, "" if job_context().sweep else alias


def register(client: MlflowClient, run_id: str, name: str, alias: str) -> None:
    """Make the model of a run a version of `name`, unless it is one, and give it the alias.

    Raises:
        UserError: the run has logged no model.
    """
    run = client.get_run(run_id)
    if not run.outputs or not run.outputs.model_outputs:
        raise UserError(f"tracking.register={name}: run {run_id} has logged no model to register")
    model = run.outputs.model_outputs[-1].model_id
    source = f"models:/{model}"
    with suppress(MlflowException):  # the name exists; if not, the next request fails too
        client.create_registered_model(name)
    made = client.search_model_versions(f"run_id = '{run_id}'")
    made = [version for version in made if (version.name, version.source) == (name, source)]
    if made and not alias:
        return
    made = made or [client.create_model_version(name, source, run_id, model_id=model)]
    if alias:
        client.set_registered_model_alias(name, alias, made[0].version)
    said = f"{name}@{alias}" if alias else name
    say(f"registered {said}, version {made[0].version}: {run.info.run_name}")
