"""Sweeps over the recipes of GLUE end with the benchmark's table."""

from pathlib import Path
from typing import Any

import mlflow.artifacts
import pytest
from mlflow.entities import Run

from conftest import Command, runs_of
from expkit.config.glue import tasks
from expkit.tracking.past import KIND
from small_glue import write_glue

TWO_STEPS = (
    *("model=tiny_bert", "model.hidden_size=32", "model.layers=1", "precision=fp32"),
    *("train.max_steps=2", "train.batch_size=8", "data.path=download", "tracking.log_model=false"),
)


def ran(project: Path) -> tuple[dict[str, Any], dict[str, Run]]:
    """The table that the sweep has logged, and the run of each job by its name."""
    runs = runs_of(project)
    (parent,) = (run for run in runs if run.data.tags.get(KIND) == "sweep")
    table = mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/sweep/glue.json")
    return table, {run.info.run_name: run for run in runs if run is not parent}


def cell(task: str, *runs: Run) -> str:
    """What the table shows of a task: its scores times 100, as means over these runs."""
    keys = tasks()[task]["scores"].values()
    means = [100 * sum(run.data.metrics[key] for run in runs) / len(runs) for key in keys]
    return "/".join(f"{mean:.1f}" for mean in means)


def test_a_sweep_over_two_tasks(project: Path, expkit: Command) -> None:
    write_glue(project / "download")
    done = expkit("-m", "experiment=glue_mnli,glue_stsb", *TWO_STEPS)
    assert done.returncode == 0, done.stderr
    table, jobs = ran(project)
    assert table["columns"] == ["configuration", "STS-B P/S", "MNLI m/mm"]
    cells = [cell(task, jobs[f"experiment=glue_{task}"]) for task in ("stsb", "mnli")]
    assert table["data"] == [["", *cells]]
    assert "\nbest " not in done.stdout  # each is alone in its task
    end = done.stdout[done.stdout.rindex("GLUE, sweep: experiment") :]
    assert all(f" {one} " in end for one in cells)
    compared = expkit(module="expkit.compare")
    assert compared.returncode == 0, compared.stderr
    assert all(f" {one} " in compared.stdout.partition("GLUE, sweep")[2] for one in cells)


def test_a_key_that_no_recipe_of_a_sweep_has(project: Path, expkit: Command) -> None:
    """`data.path` above is in none of the groups that the sweep has before a recipe is chosen."""
    done = expkit("-m", "experiment=glue_rte,glue_mnli", "data.pth=download")
    assert done.returncode == 2
    assert done.stderr.count("data.pth: no such key; allowed: path, task,") == 1
    assert "did you mean 'path'" in done.stderr
    done = expkit("-m", "seed=1,2", "hydra.swep.dir=here")
    assert done.returncode == 2
    assert "hydra.swep" in done.stderr
    assert runs_of(project) == []


@pytest.mark.slow
def test_all_nine_tasks(project: Path, expkit: Command) -> None:
    write_glue(project / "download")
    done = expkit("-m", "experiment=glob(glue_*)", "seed=1,2", *TWO_STEPS)
    assert done.returncode == 0, done.stderr
    table, jobs = ran(project)
    assert len(jobs) == 18
    cells = [
        cell(task, *(jobs[f"experiment=glue_{task} seed={seed}"] for seed in (1, 2)))
        for task in tasks()
    ]
    (row,) = table["data"]
    assert row[1:-2] == cells
    means = [sum(map(float, text.split("/"))) / len(text.split("/")) for text in cells]
    assert float(row[-2]) == pytest.approx(sum(means) / 9, abs=0.11)
    assert float(row[-1]) == pytest.approx(sum(means[:-1]) / 8, abs=0.11)
    mnli = jobs["experiment=glue_mnli seed=1"]
    assert {"final/accuracy", "mismatched/accuracy"} <= mnli.data.metrics.keys()
    done = expkit(mnli.info.run_id, module="expkit.reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differs:" not in done.stdout


@pytest.mark.slow
def test_the_hub_out_of_reach(project: Path, expkit: Command) -> None:
    done = expkit("experiment=glue_cola")
    assert done.returncode == 1
    assert "data.path='nyu-mll/glue': cannot be loaded from the Hugging Face hub" in done.stderr
    assert "Traceback" not in done.stderr
