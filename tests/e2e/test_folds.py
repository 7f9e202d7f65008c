"""`data.folds`: jobs of a sweep, one for each fold, with one score of all their predictions."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import mlflow.artifacts
import pytest
from mlflow.entities import Run
from sklearn.metrics import accuracy_score, f1_score

from conftest import Command, launched, runs_of
from expkit.tracking.past import KIND

SIZE = (
    *("model=tiny_bert", "model.hidden_size=32", "model.layers=1", "model.vocab_size=300"),
    *("precision=fp32", "lora=none", "train.batch_size=8", "optimizer.lr=3e-3"),
    *("task.text_columns=[text]", "data=files", "data.train_file=all.jsonl"),
    "tracking.log_model=false",
)


def write(project: Path, count: int = 90) -> None:
    """Texts whose label is mostly their first word."""
    drawn = random.Random(0)
    records = []
    for i in range(count):
        label = "ab"[i % 3 == 0]
        first = label if drawn.random() < 0.9 else "c"
        records.append({"text": f"{first} {drawn.randrange(10**6)}", "label": label})
    (project / "all.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))


def loaded(run: Run, path: str) -> Any:
    return mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{path}")


def table(run: Run, path: str) -> dict[str, list[Any]]:
    found = loaded(run, path)
    return dict(zip(found["columns"], map(list, zip(*found["data"], strict=True)), strict=True))


def divided(project: Path) -> tuple[Run, list[Run]]:
    """The parent run, and the runs of its jobs."""
    runs = runs_of(project)
    (parent,) = (run for run in runs if run.data.tags.get(KIND) == "sweep")
    return parent, [run for run in runs if run is not parent and run.info.status == "FINISHED"]


def test_the_pooled_score_is_that_of_all_logged_predictions(project: Path, expkit: Command) -> None:
    write(project)
    done = expkit("-m", "optimizer=adamw,sgd", *SIZE, "data.folds=3", "train.max_steps=8")
    assert done.returncode == 0, done.stderr
    parent, jobs = divided(project)
    assert len(jobs) == 6
    records = table(parent, "sweep/folds.json")
    for optimizer in ("adamw", "sgd"):
        of_one = [job for job in jobs if f"optimizer={optimizer} " in job.info.run_name]
        assert sorted(job.data.params["data.fold"] for job in of_one) == ["1", "2", "3"]
        held_out = [i for job in of_one for i in loaded(job, "data/split.json")["validation"]]
        assert sorted(held_out) == list(range(90))
        predictions = [table(job, "eval/predictions.json") for job in of_one]
        true = [label == "b" for part in predictions for label in part["label"]]
        predicted = [label == "b" for part in predictions for label in part["predicted"]]
        rows = zip(*(records[name] for name in ("configuration", "metric", "pooled")), strict=True)
        pooled = {metric: value for name, metric, value in rows if name == f"optimizer={optimizer}"}
        assert pooled["f1"] == pytest.approx(f1_score(true, predicted), abs=1e-9)
        assert pooled["accuracy"] == pytest.approx(accuracy_score(true, predicted), abs=1e-9)
        means = [job.data.metrics["final/loss"] for job in of_one]
        place = list(zip(records["configuration"], records["metric"], strict=True)).index(
            (f"optimizer={optimizer}", "loss")
        )
        assert records["mean"][place] == pytest.approx(sum(means) / 3)
        assert pooled["loss"] is None
    assert "over folds" in done.stdout
    compared = expkit(module="expkit.compare")
    assert compared.returncode == 0, compared.stderr
    assert "all folds together" in compared.stdout
    assert "on 90 examples" in compared.stdout


def test_a_single_run_becomes_one_for_each_fold(project: Path, expkit: Command) -> None:
    write(project, 40)
    options = (*SIZE, "data.folds=2", "train.max_steps=2")
    done = expkit(*options)
    assert done.returncode == 0, done.stderr
    parent, jobs = divided(project)
    assert [job.info.run_name for job in jobs] == ["fold=2", "fold=1"]
    metrics = parent.data.metrics
    assert metrics["folds/f1_low"] <= metrics["folds/f1_pooled"] <= metrics["folds/f1_high"]
    values = [job.data.metrics["final/f1"] for job in jobs]
    assert metrics["folds/f1_mean"] == pytest.approx(sum(values) / 2)
    assert metrics["sweep/best"] == pytest.approx(sum(values) / 2)
    done = expkit(*options, "resume=auto")
    assert done.returncode == 0, done.stderr
    assert "2 of them had finished before" in done.stdout
    assert len(table(parent, "sweep/jobs.json")["job"]) == 2  # nothing is there twice
    metrics_of_folds = table(parent, "sweep/folds.json")["metric"]
    assert len(metrics_of_folds) == len(set(metrics_of_folds))
    done = expkit(*options, "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert len(runs_of(project)) == 3
    done = expkit(jobs[0].info.run_id, module="expkit.reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differs:" not in done.stdout


def test_what_one_fold_lacks_is_not_made_up(project: Path, expkit: Command) -> None:
    """A score of the other folds alone would look like one of all."""
    write(project, 40)
    options = (*SIZE, "data.folds=2", "train.max_steps=2")
    assert expkit(*options).returncode == 0
    parent, jobs = divided(project)
    assert set(table(parent, "sweep/folds.json")["pooled"]) != {None}
    (file,) = (project / "outputs").rglob(f"{jobs[0].info.run_id}/artifacts/eval/outcomes.json.gz")
    file.unlink()
    done = expkit(*options, "resume=auto")
    assert done.returncode == 0, done.stderr
    records = table(parent, "sweep/folds.json")
    assert set(records["pooled"]) == {None}
    assert None not in records["mean"]
    done = expkit("--csv", "all.csv", module="expkit.compare")
    assert done.returncode == 0, done.stderr
    assert "the folds cannot be scored together: run" in done.stdout
    assert (project / "all.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("data.folds=2", "data.validation_share=0.1"), "give one of them"),
        (("data.folds=2", "data.fold=3"), "data.fold=3: expected null, or one of the folds"),
        ((), "data.validation_file: a value is required"),
        (("data.validation_share=0.6", "data.test_share=0.5"), "leave nothing to train on"),
        (("data.validation_share=1.5",), "must be less than 1"),
        (("-m", "data.folds=2", "hydra/sweeper=optuna"), "is not for hydra/sweeper=optuna"),
    ],
)
def test_what_does_not_fit_together(
    options: tuple[str, ...], message: str, project: Path, expkit: Command
) -> None:
    write(project, 20)
    if "hydra/sweeper=optuna" in options:
        options = (*options, "optimizer.weight_decay=interval(0,0.1)")
    done = expkit(*options, *SIZE)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (project / "outputs" / "mlflow.db").exists()


def start(project: Path, *more: str) -> "subprocess.Popen[str]":
    grid = ("-m", "optimizer=adamw,sgd", *SIZE, "data.folds=5")
    return launched(project, *grid, "train.max_steps=6", "checkpoint.every_steps=1", *more)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_folds_that_were_killed_twice(
    launcher: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results: list[tuple[Any, Any]] = []
    seconds = 0.0
    for name in ("undisturbed", "killed"):
        project = tmp_path_factory.mktemp(name)
        (project / "outputs").mkdir()
        write(project)
        for share in (0.4, 0.6) if name == "killed" else ():
            process = start(project, "resume=auto", f"hydra/launcher={launcher}")
            time.sleep(share * seconds)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        begun = time.perf_counter()
        process = start(project, "resume=auto", f"hydra/launcher={launcher}")
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors
        seconds = time.perf_counter() - begun
        monkeypatch.chdir(project)
        parent, jobs = divided(project)
        assert len(jobs) == 10
        finals = {
            job.info.run_name: {k: v for k, v in job.data.metrics.items() if k.startswith("final/")}
            for job in jobs
        }
        results.append((finals, table(parent, "sweep/folds.json")))
    assert results[0] == results[1]
