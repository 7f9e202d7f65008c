"""`expkit.reproduce`: the same metrics again, or what is different and why."""

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import SURROUNDINGS, TINY, Command
from expkit.commands.reproduce import agree
from forked import run_module

OPTIONS = (
    *(option for option in TINY if not option.startswith("data.")),
    "data=files",
    "data.train_file=train.jsonl",
    "data.validation_file=validation.jsonl",
    "task.text_columns=[text]",
    "train.max_steps=4",
    "tracking.log_model=false",
)


def write(file: Path, labels: str) -> None:
    rows = [
        {"text": f"{'good' if x == '1' else 'bad'} text {i}", "label": x}
        for i, x in enumerate(labels)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def run(project: Path, expkit: Command) -> str:
    write(project / "train.jsonl", "01" * 16)
    write(project / "validation.jsonl", "0110" * 4)
    done = expkit(*OPTIONS)
    assert done.returncode == 0, done.stderr
    (folder,) = (project / "outputs" / "runs").iterdir()
    return folder.name


def test_the_same_again_and_then_with_other_data(run: str, project: Path, expkit: Command) -> None:
    done = expkit(run[:10], module="expkit.reproduce")
    assert done.returncode == 0, done.stderr
    assert "differs" not in done.stdout
    assert re.search(r"reproduced: all \d+ metrics agree\n$", done.stdout)
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    runs = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        filter_string=f"tags.`expkit.reproduces` = '{run}'",
    )
    assert [other.info.run_name for other in runs] == [f"{client.get_run(run).info.run_name} again"]

    write(project / "validation.jsonl", "0111" * 4)
    done = expkit(run, module="expkit.reproduce")
    assert done.returncode == 1
    assert "differs: validation data: digest " in done.stdout
    assert "differs: train data" not in done.stdout
    flat = " ".join(done.stdout.split())
    assert re.search(r"not reproduced: \d+ of \d+ metrics differ: .*final/loss", flat)
    assert "what may be the reason: validation data" in flat

    (project / "validation.jsonl").unlink()
    done = expkit(run, module="expkit.reproduce")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("expkit.reproduce: data.validation_file='validation.jsonl': ")


def test_from_another_folder_of_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are those of the folder in which the run was started."""
    for folder in ("data", "elsewhere"):
        (project / folder).mkdir()
    write(project / "data" / "train.jsonl", "01" * 16)
    write(project / "data" / "validation.jsonl", "0110" * 4)
    surroundings = os.environ | SURROUNDINGS
    done = run_module("expkit", OPTIONS, project / "data", surroundings, 300)
    assert done.returncode == 0, done.stderr
    (folder,) = (project / "outputs" / "runs").iterdir()
    again = partial(
        run_module, "expkit.reproduce", [folder.name], project / "elsewhere", surroundings, 300
    )
    done = again()
    assert done.returncode == 0, done.stderr
    assert re.search(r"reproduced: all \d+ metrics agree\n$", done.stdout)

    (project / "data" / "train.jsonl").rename(project / "data" / "moved.jsonl")
    done = again()
    assert (done.returncode, done.stdout) == (1, "")
    assert "data.train_file='train.jsonl': no such file" in done.stderr
    assert f"relative paths were looked for in {project / 'data'}" in done.stderr


def test_a_run_that_cannot_come_out_again_is_refused(
    run: str, project: Path, expkit: Command
) -> None:
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    client.set_terminated(run, "KILLED")
    done = expkit(run, module="expkit.reproduce")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"expkit.reproduce: run {run}: has no final metrics that could come out again (state KILLED)\n"
    )
    config = "optimizer:\n  _target_: os.system\n  command: ls\n"
    client.set_terminated(run, "FINISHED")
    client.log_text(run, config, "run.yaml")
    done = expkit(run, module="expkit.reproduce")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"expkit.reproduce: run {run}: optimizer._target_=os.system: 'os' is not trusted"
    )


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (0.5, 0.5, True),
        (0.5, 0.5 + 5e-7, True),
        (0.5, 0.5 + 5e-6, False),
        (1e6, 1e6 + 0.5, True),
        (float("nan"), float("nan"), True),
        (float("nan"), 0.5, False),
        (float("inf"), float("inf"), True),
        (float("inf"), 0.5, False),
        (float("inf"), float("-inf"), False),
        (0.5, None, False),
    ],
)
def test_agreement(then: float | None, now: float | None, same: bool) -> None:
    assert agree(then, now, 1e-6) is same
