"""One run in MLflow, from its start to a state that says how it ended."""

import json
import platform
import subprocess
import traceback
from collections.abc import Iterator, Mapping
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
from mlflow.entities import DatasetInput, InputTag, Param
from mlflow.exceptions import MlflowException

from expkit.config.project import output_dir, project_root
from expkit.data.splits import Split
from expkit.display import say
from expkit.tasks.interface import Report
from expkit.tracking import store
from expkit.tracking.writer import MetricWriter

PARAM_LIMIT = 500  # characters; longer ones are cut, the artifact run.yaml has all of it
PARAM_BATCH = 100  # MLflow's own limit
PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "mlflow", "hydra-core")


class Run:
    """Writes one MLflow run, and keeps its files in `folder`."""

    def __init__(self, client: MlflowClient, run_id: str, name: str) -> None:
        self.client = client
        self.id = run_id
        self.name = name
        self.folder = output_dir() / "runs" / run_id
        self.folder.mkdir(parents=True)
        self._writer = MetricWriter(client, run_id)

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Queue metrics; they are all there when the run is closed."""
        self._writer.log(metrics, step)

    def log_config(self, config: Mapping[str, Any], runnable: Mapping[str, Any]) -> None:
        """The flat config as parameters, and as a file that `--config-name run` runs again."""
        params = [Param(key, _cut(value)) for key, value in flatten(config)]
        for start in range(0, len(params), PARAM_BATCH):
            self.client.log_batch(self.id, params=params[start : start + PARAM_BATCH])
        text = yaml.safe_dump(dict(runnable), sort_keys=False, allow_unicode=True)
        self.client.log_text(self.id, text, "run.yaml")

    def log_data(self, splits: Mapping[str, Split]) -> None:
        """Name, source and digest of each split as an input of the run."""
        inputs = [
            DatasetInput(
                DatasetEntity(
                    name=split.name,
                    digest=split.digest[:32],
                    source_type="local",
                    source=json.dumps({"uri": split.source}),
                    profile=json.dumps({"num_rows": len(split)}),
                ),
                tags=[InputTag("mlflow.data.context", name)],
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

    def log_folder(self, folder: Path, name: str) -> None:
        """A folder of files as artifacts."""
        self.client.log_artifacts(self.id, str(folder), name)

    def close(self) -> None:
        """Send what is queued. Raises what a request failed with."""
        self._writer.close()


@contextmanager
def open_run(settings: Mapping[str, Any], name: str) -> Iterator[Run]:
    """A run that ends as FINISHED, as FAILED with the traceback, or as KILLED when interrupted."""
    client = store.connect(settings["uri"])
    experiment = store.experiment_id(client, settings["experiment"])
    tags = {**store.owner_tags(), **_environment()}
    created = client.create_run(experiment, run_name=name, tags=tags)
    run_id = created.info.run_id
    run: Run | None = None
    try:
        mlflow.start_run(run_id=run_id)  # mlflow.transformers.log_model writes to the active run
        run = Run(client, run_id, name)
        yield run
        run.close()
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        try:
            if not interrupted:
                client.log_text(run_id, traceback.format_exc(), "traceback.txt")
            if run is not None:
                run.close()
        except (MlflowException, OSError) as second:
            say(f"the run's last metrics could not be sent: {second}")  # the first error matters
        finally:
            mlflow.end_run("KILLED" if interrupted else "FAILED")
        raise
    mlflow.end_run("FINISHED")


def flatten(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) for each leaf; lists stay whole."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= PARAM_LIMIT else f"{text[: PARAM_LIMIT - 7]}… (cut)"


def _environment() -> dict[str, str]:
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
