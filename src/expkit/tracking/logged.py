"""Find a run that was logged, its configuration and its model."""

from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from omegaconf import DictConfig, OmegaConf

from expkit.errors import UserError
from expkit.tracking.store import connect


@dataclass(frozen=True)
class LoggedRun:
    """A run of the past."""

    id: str
    config: DictConfig
    client: MlflowClient

    def model_uri(self) -> str:
        """The address of the logged model. Raises UserError if there is none."""
        run = self.client.get_run(self.id)
        outputs = run.outputs.model_outputs if run.outputs else []
        if not outputs:
            raise UserError(f"run {self.id}: has logged no model (state {run.info.status})")
        return f"models:/{outputs[-1].model_id}"


def logged_run(run_id: str) -> LoggedRun:
    """The run with that id, or the only one whose id starts so.

    Raises:
        UserError: no such run, several, or one without a configuration.
    """
    client = connect(None)
    run = _find(client, run_id)
    try:
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/run.yaml")
    except (MlflowException, OSError) as error:
        raise UserError(
            f"run {run.info.run_id}: has no run.yaml, so expkit did not make it"
        ) from error
    config = OmegaConf.create(text)
    assert isinstance(config, DictConfig)
    return LoggedRun(run.info.run_id, config, client)


def _find(client: MlflowClient, run_id: str) -> MlflowRun:
    experiments = [e.experiment_id for e in client.search_experiments()]
    recent = client.search_runs(
        experiments, max_results=1000, order_by=["attributes.start_time DESC"]
    )
    found = [run for run in recent if run.info.run_id.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    try:
        return client.get_run(run_id)
    except MlflowException:
        shown = found or recent[:5]
        known = ", ".join(f"{r.info.run_id} ({r.info.run_name})" for r in shown) or "none"
        what = "several runs start so" if found else "no such run"
        raise UserError(
            f"run {run_id!r}: {what}; {'found' if found else 'the latest'}: {known}"
        ) from None
