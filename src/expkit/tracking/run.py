"""One run in MLflow, from its start to a state that says how it ended."""

import json
import os
import platform
import subprocess
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import psutil
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from expkit.config.project import project_root, run_folder
from expkit.data.splits import Split
from expkit.display import say
from expkit.errors import Pruned, reason
from expkit.metrics import outcomes
from expkit.metrics.outcomes import Outcomes
from expkit.secrets import hidden, hidden_in
from expkit.tasks.interface import Report
from expkit.tracking import store
from expkit.tracking.params import params_of
from expkit.tracking.past import (
    DATA_CONTEXT,
    ERROR,
    FINGERPRINT,
    OVERRIDES,
    OVERRIDES_VARIABLE,
    PRUNED,
    SWEEP,
    SWEEP_VARIABLE,
    TRIAL,
    TRIAL_VARIABLE,
    cut_off_run,
    finished_run,
)
from expkit.tracking.writer import MetricWriter

ERROR_LIMIT = 500  # characters of the tag that says why a run failed
DIGEST_LENGTH = 32  # characters; MLflow takes 36
PARAM_BATCH = 100  # MLflow's own limit
PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "mlflow", "hydra-core")


class Run:
    """Writes one MLflow run, and keeps its files in `folder`.

    A run that goes on after it was cut off comes once more to steps whose metrics it has sent
    already; they are not sent again.
    """

    def __init__(self, client: MlflowClient, run_id: str, name: str, goes_on: bool = False) -> None:
        self.client = client
        self.id = run_id
        self.name = name
        self.goes_on = goes_on
        self.folder = run_folder(run_id)
        self.folder.mkdir(parents=True, exist_ok=goes_on)
        self._writer = MetricWriter(client, run_id)
        self._stored = _stored_metrics(client, run_id) if goes_on else Counter()
        self._logged: Counter[tuple[str, int]] = Counter()

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Queue metrics; they are all there when the run is closed."""
        new = {}
        for name, value in metrics.items():
            self._logged[name, step] += 1
            if self._logged[name, step] > self._stored[name, step]:
                new[name] = value
        self._writer.log(new, step)

    def logged_at(self, step: int) -> dict[str, int]:
        """How often each metric was logged at a step; all of that has arrived when this returns."""
        self._writer.flush()
        return {name: n for (name, at), n in self._logged.items() if at == step}

    def set_logged_at(self, step: int, counts: Mapping[str, int]) -> None:
        """What `logged_at` said before the run was cut off."""
        self._logged.update({(name, step): n for name, n in counts.items()})

    def log_config(self, config: Mapping[str, Any], runnable: Mapping[str, Any]) -> None:
        """The flat config as parameters, and as a file that `--config-name run` runs again.

        Of a run that goes on, what cannot change its result may have changed; MLflow keeps the first
        value of a parameter.
        """
        there = self.client.get_run(self.id).data.params if self.goes_on else {}
        params = [param for param in params_of(config) if param.key not in there]
        for start in range(0, len(params), PARAM_BATCH):
            self.client.log_batch(self.id, params=params[start : start + PARAM_BATCH])
        text = yaml.safe_dump(hidden_in(dict(runnable)), sort_keys=False, allow_unicode=True)
        self.client.log_text(self.id, text, "run.yaml")

    def log_data(self, splits: Mapping[str, Split]) -> None:
        """Name, source and digest of each split as an input of the run."""
        inputs = [
            DatasetInput(
                DatasetEntity(
                    name=split.name,
                    digest=split.digest[:DIGEST_LENGTH],
                    source_type="local",
                    source=json.dumps({"uri": split.source}),
                    profile=json.dumps({"num_rows": len(split)}),
                ),
                tags=[InputTag(DATA_CONTEXT, name)],
            )
            for name, split in splits.items()
        ]
        self.client.log_inputs(self.id, inputs)

    def log_report(self, report: Report, folder: str) -> None:
        """Tables, which the UI shows as such, and pictures."""
        for name, columns in report.tables.items():
            self.client.log_table(self.id, columns, f"{folder}/{name}.json")
        for name, draw in report.figures.items():
            file = self.folder / f"{name}.png"
            draw(file)
            self.client.log_artifact(self.id, str(file), folder)
        for name, fact in report.facts.items():
            self.client.set_tag(self.id, name, fact)

    def log_outcomes(self, made: Sequence[Outcomes], folder: str) -> None:
        """What the metrics saw, complete, for `expkit.compare`."""
        file = self.folder / outcomes.FILE
        outcomes.write(made, file)
        self.client.log_artifact(self.id, str(file), folder)
        file.unlink()

    def log_folder(self, folder: Path, name: str) -> None:
        """A folder of files as artifacts."""
        self.client.log_artifacts(self.id, str(folder), name)

    def close(self) -> None:
        """Send what is queued. Raises what a request failed with."""
        self._writer.close()


def finished_before(settings: Mapping[str, Any], fingerprint: str) -> MlflowRun | None:
    """The newest run of that experiment that came to its end."""
    client = store.connect(settings["uri"])
    return finished_run(client, store.experiment_id(client, settings["experiment"]), fingerprint)


@contextmanager
def open_run(
    settings: Mapping[str, Any], name: str, fingerprint: str, *, resume: bool
) -> Iterator[Run]:
    """A run that ends as FINISHED, as FAILED with the traceback, or as KILLED when interrupted.

    One that is pruned ends as KILLED with a tag that says so.

    Args:
        fingerprint: of the experiment; with `resume`, a run of it that was cut off goes on.
    """
    client = store.connect(settings["uri"])
    experiment = store.experiment_id(client, settings["experiment"])
    cut_off = cut_off_run(client, experiment, fingerprint) if resume else None
    tags = {
        **store.owner_tags(),
        **store.source_tags(),
        **environment(),
        FINGERPRINT: fingerprint,
        **sweep_tags(),
    }
    if cut_off:
        run_id = cut_off.info.run_id
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
    else:
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    run: Run | None = None
    try:
        mlflow.start_run(run_id=run_id)  # mlflow.transformers.log_model writes to the active run
        run = Run(client, run_id, name, goes_on=cut_off is not None)
        yield run
        run.close()
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Pruned)
        try:
            if isinstance(error, Pruned):
                client.set_tag(run_id, PRUNED, "true")
            if not interrupted:
                client.log_text(run_id, hidden(traceback.format_exc()), "traceback.txt")
                client.set_tag(run_id, ERROR, hidden(reason(error))[:ERROR_LIMIT])
            if run is not None:
                run.close()
        except (MlflowException, OSError) as second:
            say(f"the run's last metrics could not be sent: {second}")  # the first error matters
        finally:
            mlflow.end_run("KILLED" if interrupted else "FAILED")
        raise
    mlflow.end_run("FINISHED")


def latest_run_id() -> str:
    """Of the run that this thread has opened last."""
    run = mlflow.last_active_run()
    assert run is not None
    return str(run.info.run_id)


def sweep_tags() -> dict[str, str]:
    """Of a job: where it belongs, and its overrides. Both come to it in the environment."""
    parent = os.environ.get(SWEEP_VARIABLE)
    if not parent:
        return {}
    overrides = hidden(os.environ.get(OVERRIDES_VARIABLE, ""))
    tags = {"mlflow.parentRunId": parent, SWEEP: parent, OVERRIDES: overrides}
    trial = os.environ.get(TRIAL_VARIABLE)
    return {**tags, TRIAL: trial} if trial else tags


def _stored_metrics(client: MlflowClient, run_id: str) -> Counter[tuple[str, int]]:
    """How often each metric of each step has arrived."""
    return Counter(
        (name, metric.step)
        for name in client.get_run(run_id).data.metrics
        for metric in client.get_metric_history(run_id, name)
    )


def environment() -> dict[str, str]:
    """Versions, commit and hardware, as tags of a run."""
    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    tags = {f"version.{package}": version(package) for package in PACKAGES}
    tags |= {
        "version.expkit": version("expkit"),
        "version.python": platform.python_version(),
        "hardware.cpu": platform.processor() or platform.machine(),
        "hardware.cores": str(psutil.cpu_count()),
        "hardware.memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "hardware.threads": str(torch.get_num_threads()),
        "hardware.accelerator": accelerator,
    }
    if commit := _git("rev-parse", "HEAD"):
        tags["mlflow.source.git.commit"] = commit
        tags["git.dirty"] = str(bool(_git("status", "--porcelain"))).lower()
    return tags


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(project_root()), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
