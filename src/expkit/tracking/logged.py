"""Find a run that was logged, its configuration and its model."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from expkit.config.project import is_file_name
from expkit.config.targets import targets_in
from expkit.config.trust import refusal, remote_code
from expkit.metrics.result import with_final
from expkit.terminal.errors import UserError
from expkit.tracking.params import leaves
from expkit.tracking.past import DATA_CONTEXT, FINGERPRINT, is_sweep, tag_of
from expkit.tracking.store import connect, experiment_ids

SCORED = ("final", "test", "baseline")  # groups of metrics


@dataclass(frozen=True)
class LoggedRun:
    """A run of the past, as it was when it was found."""

    run: MlflowRun
    config: DictConfig
    client: MlflowClient

    @property
    def id(self) -> str:
        """All 32 characters of it."""
        return str(self.run.info.run_id)

    @property
    def tags(self) -> dict[str, str]:
        """Versions, commit and hardware among them."""
        return dict(self.run.data.tags)

    def model_uri(self) -> str:
        """The address of the logged model. Raises UserError if there is none."""
        outputs = self.run.outputs.model_outputs if self.run.outputs else []
        if not outputs:
            raise UserError(f"run {self.id}: has logged no model (state {self.run.info.status})")
        return f"models:/{outputs[-1].model_id}"

    def scores(self) -> dict[str, float]:
        """The value of each metric that says how good the exported model is."""
        metrics = with_final(self.run.data.metrics)
        return {k: v for k, v in metrics.items() if k.partition("/")[0] in SCORED}

    def artifact(self, path: str) -> Path | None:
        """A file that the run has logged, or None; a copy of it if it lies elsewhere."""
        try:
            found = mlflow.artifacts.download_artifacts(f"{self.run.info.artifact_uri}/{path}")
        except (MlflowException, OSError):
            return None
        return Path(found)

    def require_trusted(self, key: str, trusted: frozenset[str]) -> None:
        """Refuse to make what somebody may have written into a store that is shared.

        Args:
            key: of the part of the configuration that is to be made.
            trusted: packages that were named on the command line.

        Raises:
            UserError: a target comes from another package.
        """
        node = OmegaConf.select(self.config, key)
        plain = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        for path, part in targets_in(plain, key):
            if refused := refusal(str(part["_target_"]), trusted, how="use --trust {}"):
                raise UserError(f"run {self.id}: {path}._target_={part['_target_']}: {refused}")
        for found in remote_code(plain, key):
            raise UserError(f"run {self.id}: {found}: would run code from outside")


def logged_run(run_id: str) -> LoggedRun:
    """The run with that id, or the only one whose id starts so.

    Raises:
        UserError: no such run, several, or one without a configuration.
    """
    client = connect(None)
    run = find_run(client, run_id)
    if is_sweep(run):
        raise UserError(f"run {run.info.run_id}: is a sweep; name one of its runs")
    try:
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/run.yaml")
    except (MlflowException, OSError) as error:
        known = tag_of(run.data.tags, FINGERPRINT)
        why = f"is not in {run.info.artifact_uri}" if known else "so expkit did not make it"
        raise UserError(f"run {run.info.run_id}: has no run.yaml, {why}") from error
    return LoggedRun(run, _config(run.info.run_id, text), client)


def _config(run_id: str, text: str) -> DictConfig:
    """The configuration in a run.yaml; what it says to Hydra is left out.

    Raises:
        UserError: it is damaged, or not resolved: expkit logs values, so somebody else wrote that a
            variable of this machine's environment, or another part, is to be put in.
    """
    try:
        whole = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"run {run_id}: its run.yaml cannot be read: {error}") from error
    if not isinstance(whole, dict):
        raise UserError(f"run {run_id}: its run.yaml holds no configuration")
    plain = {str(k): v for k, v in whole.items() if k not in ("hydra", "defaults")}
    for path, value in leaves(plain):
        key = ".".join(map(str, path))
        if "${" in str(value) or "${" in key:
            raise UserError(
                f"run {run_id}: {key}={value}: has to be a value; a logged configuration is resolved"
            )
    return OmegaConf.create(plain)


def data_digests(run: MlflowRun) -> dict[str, str]:
    """Of the inputs of a run, by split."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return {
        tag.value: entry.dataset.digest
        for entry in inputs
        for tag in entry.tags
        if tag.key == DATA_CONTEXT
    }


def find_run(client: MlflowClient, run_id: str) -> MlflowRun:
    """The run with that id, or the only one whose id starts so. Raises UserError."""
    newest = partial(client.search_runs, experiment_ids(client))
    found = []
    if is_file_name(run_id):  # of others MLflow's language for queries may make something else
        alike = newest(f"attributes.run_id LIKE '{run_id}%'", ViewType.ALL, max_results=100)
        found = [run for run in alike if run.info.run_id.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    try:
        return client.get_run(run_id)
    except MlflowException:
        what = "several runs start so; found" if found else "no such run; the latest"
        shown = found or newest(max_results=5)
        known = ", ".join(f"{r.info.run_id} ({r.info.run_name})" for r in shown) or "none"
        raise UserError(f"run {run_id!r}: {what}: {known}") from None
