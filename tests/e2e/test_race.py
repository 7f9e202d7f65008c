"""Races as a user starts them: what they run, print and log, and how one that was killed goes on."""

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

from conftest import Command, launched, runs_of
from expkit.tracking.past import KIND

RACE = (
    *("-m", "hydra/sweeper=race", "hydra.sweeper.max_seeds=3", "train.max_steps=100", "train.batch_size=8", "train.eval_every=100", "train.log_every=100"),
    *("model=tiny_bert", "model.hidden_size=16", "model.layers=1", "model.vocab_size=300", "lora=none"),
    *("task.text_columns=[text]", "data=files", "data.train_file=all.jsonl", "precision=fp32"),
    *("data.validation_share=0.5", "objective=eval/accuracy", "tracking.log_model=false"),
)  # fmt: skip


def write(project: Path, count: int = 400) -> None:
    """Texts whose label is mostly their first word."""
    drawn = random.Random(0)
    records = []
    for i in range(count):
        label = "ab"[i % 2]
        first = label if drawn.random() < 0.9 else "c"
        records.append({"text": f"{first} {drawn.randrange(10**6)}", "label": label})
    (project / "all.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))


def ended(project: Path) -> tuple[Run, list[Run]]:
    """The parent run, and the runs of its jobs that have finished."""
    runs = runs_of(project)
    (parent,) = (run for run in runs if run.data.tags.get(KIND) == "sweep")
    jobs = [run for run in runs if run is not parent and run.info.status == "FINISHED"]
    return parent, sorted(jobs, key=lambda job: str(job.info.run_name))


def logged(parent: Run, name: str) -> list[dict[str, Any]]:
    found = mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/sweep/{name}")
    return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]


def test_a_race_runs_further_seeds_only_of_what_may_be_the_best(
    project: Path, expkit: Command
) -> None:
    write(project)
    done = expkit(*RACE, "optimizer.lr=1e-2,1e-9", "seed=5,1,9")
    assert done.returncode == 0, done.stderr
    parent, jobs = ended(project)
    best, other = logged(parent, "race.json")
    assert (best["configuration"], best["seeds"], best["state"]) == ("lr=1e-2", 2, "in the set")
    assert (other["configuration"], other["seeds"]) == ("lr=1e-9", 2)
    assert other["state"].startswith("dropped after 2 seeds: lr=1e-2 is better: accuracy +0.")
    scores = {str(job.info.run_name): job.data.metrics["final/accuracy"] for job in jobs}
    assert list(scores) == [f"lr={lr} seed={seed}" for lr in ("1e-2", "1e-9") for seed in (1, 5)]
    assert best["mean"] == pytest.approx((scores["lr=1e-2 seed=1"] + scores["lr=1e-2 seed=5"]) / 2)
    assert sorted(row["job"] for row in logged(parent, "jobs.json")) == list(scores)
    assert "not started" not in done.stdout, "what was not needed is in no table"


@pytest.mark.slow
def test_killed_twice_and_resumed_a_race_ends_alike(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for moments in ((), (2, 5)):  # jobs that have begun when the race is killed
        project = tmp_path_factory.mktemp("race")
        (project / "outputs").mkdir()
        write(project)
        for count in moments:
            process = start(project)
            while len(list(project.glob("outputs/runs/*/model"))) < count:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        process = start(project)
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors
        monkeypatch.chdir(project)
        parent, jobs = ended(project)
        metrics = {
            job.info.run_name: {k: v for k, v in job.data.metrics.items() if "per_second" not in k}
            for job in jobs
        }
        found.append((logged(parent, "race.json"), metrics))
    assert found[0] == found[1]


def start(project: Path) -> "subprocess.Popen[str]":
    return launched(project, *RACE, "optimizer.lr=1e-2,2e-2,1e-9", "resume=auto")
