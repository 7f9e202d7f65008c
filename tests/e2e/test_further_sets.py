"""Further evaluation sets: they are scored at the end, and one of them can decide which weights are kept."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import TINY, Command, composed, only_run, runs_of
from expkit.config.components import make
from expkit.metrics.outcomes import FILE
from expkit.tracking.logged import logged_run

pytestmark = pytest.mark.slow

FILES = ("data=files", "data.train_file=train.jsonl", "data.validation_file=validation.jsonl")
FURTHER = ("data.eval_files={june: june.jsonl}", "objective=june/loss")
SETTINGS = (
    *(option for option in TINY if not option.startswith("data.")),
    *("lora=none", "optimizer.lr=1e-3", "train.max_steps=12", "train.eval_every=3"),
)


@pytest.fixture
def options(project: Path) -> tuple[str, ...]:
    """Files for a run, in which june says the opposite of all others: what is learned makes it worse."""
    records = list(make(composed(*TINY), "data").train)
    opposite = [{**record, "label": 1 - record["label"]} for record in records]
    for name, lines in {"train": records, "validation": records, "june": opposite}.items():
        (project / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return (*FILES, *FURTHER, *SETTINGS)


def curve(project: Path, run: Run, key: str) -> list[float]:
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    return [m.value for m in client.get_metric_history(run.info.run_id, key)]


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_the_set_that_the_objective_names_decides(
    backend: str, options: tuple[str, ...], project: Path, expkit: Command
) -> None:
    done = expkit(*options, f"backend={backend}", "train.patience=2")
    assert done.returncode == 0, done.stderr
    run = only_run(project)
    june, own = (curve(project, run, f"{group}/loss") for group in ("eval.june", "eval"))
    assert len(june) == len(own) == 3, "the first one is the best, and two more use up the patience"
    assert june[0] < min(june[1:])
    assert own.index(min(own)) != 0, "the validation split would have decided otherwise"
    first, result = curve(project, run, "june/loss")
    assert first != first, "the result is logged first, as NaN until there is one"
    assert result == run.data.metrics["june/loss"] == june[0]
    assert run.data.metrics["final/loss"] == own[0]
    assert "june" in done.stdout.partition("┃ validation ┃")[2].partition("\n")[0]
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"**june/loss {june[0]:.4f} (lower is better)**\n")
    assert logged_run(run.info.run_id).artifact(f"june/{FILE}")
    done = expkit(*options, f"backend={backend}", "train.patience=2", "resume=auto")
    assert "finished before" in done.stdout, done.stderr
    done = expkit(run.info.run_id, module="expkit.reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "june/loss" in done.stdout


@pytest.mark.slow
def test_a_run_that_goes_on_remembers_which_set_decides(
    options: tuple[str, ...],
    project: Path,
    expkit: Command,
    started: Callable[..., "subprocess.Popen[str]"],
) -> None:
    steps = ("train.max_steps=60", "train.eval_on_start=false")
    process = started(*options, *steps)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert only_run(project).info.status == "KILLED"
    for resume in ("auto", "never"):
        done = expkit(*options, *steps, f"resume={resume}")
        assert done.returncode == 0, done.stderr
    whole, cut_off = runs_of(project)
    for key in ("eval.june/loss", "eval/loss", "train/loss"):
        assert curve(project, cut_off, key) == curve(project, whole, key)
    results = {k: v for k, v in whole.data.metrics.items() if k.startswith(("june/", "final/"))}
    assert results
    assert {key: cut_off.data.metrics[key] for key in results} == results


def test_a_sweep_is_decided_by_it(options: tuple[str, ...], project: Path, expkit: Command) -> None:
    done = expkit("-m", *options, "optimizer.lr=1e-3,1e-6", "train.eval_on_start=false")
    assert done.returncode == 0, done.stderr
    jobs = [run for run in runs_of(project) if "seed" in run.data.params]
    best = min(jobs, key=lambda run: float(run.data.metrics["june/loss"]))
    assert best.data.params["optimizer.lr"] == "1e-06"
    assert best.data.tags["expkit.best"] == "true"
    assert "best     lr=1e-6: june/loss" in done.stdout
    done = expkit(module="expkit.compare")
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "*" in line and "│" in line]
    assert "1e-6" in row
