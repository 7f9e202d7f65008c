"""`python -m benchmarks.same_numbers BEFORE [AFTER]`: whether two commits train the same, to the last bit.

Each commit carries out the same 16 small runs, in fp32 on the CPU: every task, on both backends, with and
without LoRA. All metrics that both commits log are compared at every step, except for speeds, and so
is every tensor of the exported models and adapters. It ends with 1 if anything differs.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file

from benchmarks.contest import execute
from benchmarks.house import CHECKOUT, archive_of

AT_ONCE = 2  # runs, each on one thread
SPEED = "per_second"  # in the names of the metrics that no two runs share
RESULTS = ("final/", "test/")  # logged after training, though their step is 0

SMALL = (
    "data=demo",
    "data.sizes.train=64",
    "data.sizes.validation=32",
    "data.sizes.test=16",
    "precision=fp32",
    "model.hidden_size=32",
    "model.dropout=0.1",
    "train.batch_size=8",
    "train.accumulation=2",
    "train.max_steps=6",
    "train.eval_every=3",
    "train.log_every=1",
)
TASKS = {
    "text_classification": ("model=tiny_bert",),
    "token_classification": ("model=tiny_bert",),
    "masked_lm": ("model=tiny_bert", "task.block_size=16"),
    "translation": (
        "model=tiny_marian",
        "model.layers=1",
        "task.num_beams=2",
        "task.max_new_tokens=16",
    ),
}
BACKENDS = ("torch", "trainer")
LORA = {"none": ("lora=none",), "attention": ("lora=attention", "lora.dropout=0.1")}
JOBS = {
    (task, backend, lora): (f"task={task}", f"backend={backend}", *SMALL, *TASKS[task], *LORA[lora])
    for task, backend, lora in product(TASKS, BACKENDS, LORA)
}


@dataclass(frozen=True)
class Numbers:
    """What a run has computed.

    Attributes:
        metrics: the values of each metric at each of its steps; several where it was logged again.
        weights: a digest of each tensor, by the file and its name there.
    """

    metrics: Mapping[str, Mapping[int, Sequence[float]]]
    weights: Mapping[str, str]


def require_source(src: Path, folder: Path) -> None:
    """End this process if the runs of a commit would import another expkit, such as the installed one."""
    said = execute(
        [sys.executable, "-c", "import expkit; print(expkit.__file__)"], folder, PYTHONPATH=str(src)
    )
    found = Path(said.splitlines()[-1])
    if not found.resolve().is_relative_to(src.resolve()):
        sys.exit(f"same_numbers: Python imports {found}, and it should come from {src}")


def carry_out(options: Sequence[str], src: Path, folder: Path) -> Path:
    """One run by the expkit below `src`, in a project of its own."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "expkit", *options]
    execute(command, folder, PYTHONPATH=str(src), OMP_NUM_THREADS="1")
    return folder


def numbers_of(project: Path) -> Numbers:
    """What the only run of a project has computed."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    metrics: dict[str, dict[int, list[float]]] = {}
    for name in run.data.metrics:
        if SPEED not in name:
            for metric in client.get_metric_history(run.info.run_id, name):
                metrics.setdefault(name, {}).setdefault(metric.step, []).append(metric.value)
    models = client.search_logged_models(experiments)
    places = [run.info.artifact_uri, *(model.artifact_location for model in models)]
    return Numbers(metrics, _digests(Path(download_artifacts(place)) for place in places))


def _digests(folders: Iterable[Path]) -> dict[str, str]:
    return {
        f"{file.relative_to(folder)}: {name}": _digest(tensor)
        for folder in folders
        for file in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def _digest(tensor: torch.Tensor) -> str:
    content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + content).hexdigest()


def first_difference(before: Numbers, after: Numbers) -> str | None:
    """Where two runs part first, in the order in which they were trained; None if they are equal."""
    names = before.metrics.keys() & after.metrics.keys()
    if not names or not before.weights or not after.weights:
        return "nothing to compare: no metrics that both have, or no exported weights"
    steps = {
        (name, step) for name in names for step in (*before.metrics[name], *after.metrics[name])
    }
    for name, step in sorted(steps, key=lambda at: (at[0].startswith(RESULTS), at[1], at[0])):
        values = [list(run.metrics[name].get(step, ())) for run in (before, after)]
        if _bits(values[0]) != _bits(values[1]):
            return f"{name} at step {step}: {_shown(values[0])} → {_shown(values[1])}"
    for name in sorted(before.weights.keys() | after.weights.keys()):
        if before.weights.get(name) != after.weights.get(name):
            sides = [
                side for side, run in (("before", before), ("after", after)) if name in run.weights
            ]
            return f"{name}: {'other weights' if len(sides) == 2 else f'only {sides[0]}'}"
    return None


def _bits(values: Iterable[float]) -> list[str]:
    return sorted(value.hex() for value in values)


def _shown(values: Sequence[float]) -> str:
    return ", ".join(map(repr, values)) or "not logged"


def compare(before: Sequence[Numbers], after: Sequence[Numbers]) -> bool:
    """Print a row for each run; returns whether all of them are equal."""
    table = Table("task", "backend", "lora", "values", "tensors", "result")
    equal = True
    lonely: dict[str, set[str]] = {"before": set(), "after": set()}
    for job, old, new in zip(JOBS, before, after, strict=True):
        difference = first_difference(old, new)
        equal = equal and difference is None
        shared = old.metrics.keys() & new.metrics.keys()
        values = sum(len(at) for name in shared for at in old.metrics[name].values())
        table.add_row(*job, str(values), str(len(old.weights)), difference or "equal")
        lonely["before"] |= old.metrics.keys() - shared
        lonely["after"] |= new.metrics.keys() - shared
    console = Console()
    console.print(table)
    for side, names in lonely.items():
        if names:
            console.print(f"only {side}, and so not compared: {', '.join(sorted(names))}")
    return equal


def main() -> None:
    """Carry out all runs and compare them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_numbers", description=__doc__)
    parser.add_argument("before", metavar="BEFORE", help="a commit")
    parser.add_argument("after", metavar="AFTER", nargs="?", help="another; none: the working tree")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = []
        for side, commit in (("before", given.before), ("after", given.after)):
            checkout = folder / side / "checkout" if commit else CHECKOUT
            if commit:
                with archive_of(commit) as archive:
                    archive.extractall(checkout, filter="data")
            (folder / side).mkdir(exist_ok=True)
            require_source(checkout / "src", folder / side)
            sources.append((checkout / "src", folder / side))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [
                pool.submit(carry_out, options, src, side / "-".join(job))
                for src, side in sources
                for job, options in JOBS.items()
            ]
            try:
                projects = [each.result() for each in track(waiting, "runs")]
            except RuntimeError as error:
                pool.shutdown(cancel_futures=True)
                sys.exit(f"same_numbers: {error}")
        found = [numbers_of(project) for project in projects]
    if not compare(found[: len(JOBS)], found[len(JOBS) :]):
        sys.exit(1)


if __name__ == "__main__":
    main()
