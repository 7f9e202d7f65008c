"""Find a logged run by its id, with its configuration, its model and its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from expkit.config.project import is_file_name
from expkit.config.targets import targets_in
from expkit.config.trust import refusal, remote_code
from expkit.metrics.outcomes import FILE, Outcomes, read
from expkit.metrics.result import VALIDATION, with_final
from expkit.processes.cores import cores
from expkit.terminal.errors import UserError
from expkit.tracking.params import leaves
from expkit.tracking.past import DATA_CONTEXT, EVALUATED, FINGERPRINT, RESCORED, is_sweep, tag_of
from expkit.tracking.store import connect, experiment_ids

# Groups of metrics that say how good the exported model is; those of further sets are named after the sets.
SCORED = ("final", "test", "baseline")
ID_LENGTH = 32  # characters of the whole id of a run
ENVIRONMENT = "environment.json"  # an artifact of the run
# Earlier versions logged the environment as tags whose names begin so.
ENVIRONMENT_TAGS = ("version.", "hardware.", "mlflow.source.git.commit", "git.dirty")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads as OmegaConf does, in a tenth of the time."""

    yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers


@dataclass(frozen=True)
class LoggedRun:
    """A run as MLflow held it when it was found."""

    run: MlflowRun
    plain: Mapping[str, Any]
    client: MlflowClient

    @cached_property
    def config(self) -> DictConfig:
        """Return the configuration; to make one takes longer than to read it."""
        return OmegaConf.create(dict(self.plain))

    @property
    def id(self) -> str:
        """Return the whole id, even if the user gave only its first characters."""
        return str(self.run.info.run_id)

    def model_uri(self) -> str:
        """Return the address of the logged model, or raise a UserError if there is none."""
        outputs = self.run.outputs.model_outputs if self.run.outputs else []
        if not outputs:
            raise UserError(
                f"run {self.id}: has logged no model (state {self.run.info.status}); a run logs one with "
                "tracking.log_model=true"
            )
        return f"models:/{outputs[-1].model_id}"

    def scores(self) -> dict[str, float]:
        """Return the metrics that say how good the exported model is."""
        metrics = with_final(self.run.data.metrics)
        groups = {*SCORED, *data_digests(self.run)} - {"train"}
        return {k: v for k, v in metrics.items() if k.partition("/")[0] in groups}

    def environment(self) -> dict[str, str]:
        """Return versions, commit and hardware: from a file, or from the tags of earlier versions."""
        if file := self.artifact(ENVIRONMENT):
            return dict(json.loads(file.read_text(encoding="utf-8")))
        tags = self.run.data.tags
        return {key: value for key, value in tags.items() if key.startswith(ENVIRONMENT_TAGS)}

    def metrics(self) -> dict[str, Any]:
        """Return the settings of the metrics by name, with those that `expkit rescore` has added."""
        found = self.plain["task"].get("metrics")
        return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}

    def outcomes(self, name: str) -> list[Outcomes] | None:
        """Return what the metrics have compared on a set, such as `validation`; None if the run has not kept it."""
        file = self.artifact(f"{'eval' if name == VALIDATION else name}/{FILE}")
        added = rescored(self.run).items()
        parts = read(file) if file else []
        for k, part in enumerate(parts):
            more = [name for name, one in added if one["sees"] in part.metrics]
            parts[k] = replace(part, metrics=list(dict.fromkeys([*part.metrics, *more])))
        return parts if file else None

    def artifact(self, path: str) -> Path | None:
        """Return a file that the run has logged, downloaded if it is not on this machine, or None."""
        return artifact_of(self.run, path)

    def require_trusted(self, key: str, trusted: frozenset[str]) -> None:
        """Raise a UserError if the part `key` of the configuration names code that is not trusted.

        Others may share the store and may have changed the configuration. `trusted` holds the packages that
        the user named on the command line.
        """
        plain: Any = self.plain
        for name in key.split("."):
            plain = plain.get(name) if isinstance(plain, dict) else None
        for path, part in targets_in(plain, key):
            if refused := refusal(str(part["_target_"]), trusted, how="use --trust {}"):
                raise UserError(f"run {self.id}: {path}._target_={part['_target_']}: {refused}")
        for found in remote_code(plain, key):
            raise UserError(f"run {self.id}: {found}: would run code from outside")


def artifact_of(run: MlflowRun, path: str) -> Path | None:
    """Return a file that a run has logged, downloaded if it is not on this machine, or None."""
    try:
        return Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/{path}"))
    except (MlflowException, OSError):
        return None


def logged_run(run_id: str, client: MlflowClient | None = None) -> LoggedRun:
    """Return the run with this id or these first characters, or raise a UserError if it is no run of expkit."""
    client = client or connect(None)
    run = find_run(client, run_id)
    if is_sweep(run):
        raise UserError(f"run {run.info.run_id}: is a sweep; name one of its runs")
    try:
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/run.yaml")
    except (MlflowException, OSError) as error:
        known = tag_of(run.data.tags, FINGERPRINT)
        why = f"is not in {run.info.artifact_uri}" if known else "so expkit did not make it"
        raise UserError(f"run {run.info.run_id}: has no run.yaml, {why}") from error
    return LoggedRun(run, _config(run, text), client)


def _config(run: MlflowRun, text: str) -> dict[str, Any]:
    """Return the configuration in a run.yaml, without its settings of Hydra, and with the metrics added later.

    Raises:
        UserError: it is damaged, or holds an interpolation such as ${oc.env:TOKEN}. expkit logs values only,
            so somebody else wrote that, perhaps to read a secret of this environment.
    """
    run_id = run.info.run_id
    try:
        whole = yaml.load(text, _Loader)
        values = whole.items() if isinstance(whole, dict) else ()
        plain = {str(k): v for k, v in values if k not in ("hydra", "defaults")}
        for name, added in rescored(run).items():
            plain["task"]["metrics"][name] = added["settings"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"run {run_id}: its run.yaml cannot be read: {error}") from error
    if not plain:
        raise UserError(f"run {run_id}: its run.yaml holds no configuration")
    for path, value in leaves(plain):
        key = ".".join(map(str, path))
        if "${" in str(value) or "${" in key:
            raise UserError(
                f"run {run_id}: {key}={value}: has to be a value; a logged configuration is resolved"
            )
    return plain


def use_threads(environment: Mapping[str, str]) -> None:
    """Use as many threads as a run did, because their number decides the order of summation."""
    import torch  # takes a second

    logged = int(environment.get("hardware.threads", 0))
    if 0 < logged <= cores():
        torch.set_num_threads(logged)


def data_digests(run: MlflowRun) -> dict[str, str]:
    """Return the digest of each split that the run has logged as an input."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return {
        tag.value: entry.dataset.digest
        for entry in inputs
        for tag in entry.tags
        if tag.key == DATA_CONTEXT
    }


def evaluated(run: MlflowRun) -> dict[str, str]:
    """Return the digest of each set on which the model was scored after the run, by the name of the set."""
    tags = run.data.tags.items()
    known = {k.removeprefix(EVALUATED): v for k, v in tags if k.startswith(EVALUATED)}
    return {name: value.partition(" ")[0] for name, value in known.items()}


def rescored(run: MlflowRun) -> dict[str, Any]:
    """Return the `settings` of each metric that was added to a run, by name, and another metric that `sees` the same."""
    added = (json.loads(value) for k, value in run.data.tags.items() if k.startswith(RESCORED))
    return {name: one for of_name in added for name, one in of_name.items()}


def find_run(client: MlflowClient, run_id: str) -> MlflowRun:
    """Return the run with this id, or the only one whose id starts so, or raise a UserError."""
    newest = partial(client.search_runs, experiment_ids(client))
    found = []
    if len(run_id) < ID_LENGTH and is_file_name(
        run_id
    ):  # other text, such as a quote, could change the meaning of the query
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
