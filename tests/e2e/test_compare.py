"""Two runs of each task, tested example by example from what they have logged."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from mlflow import MlflowClient

from conftest import SMALL_TASKS, TINY, Command
from expkit.comparison.paired import statistics_of
from expkit.metrics.outcomes import FILE, Outcomes, read, taken_by
from expkit.tracking.logged import logged_run
from expkit.tracking.past import KIND

pytestmark = pytest.mark.slow


def finished(project: Path) -> list[str]:
    """The ids of the runs, the oldest first."""
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    runs = client.search_runs(
        [e.experiment_id for e in client.search_experiments()],
        order_by=["attributes.start_time ASC"],
    )
    return [run.info.run_id for run in runs if run.data.tags.get(KIND) != "sweep"]


def rescored(run_id: str) -> dict[str, float]:
    """The scores of all metrics, from the logged outcomes alone."""
    run = logged_run(run_id)
    file = run.artifact(f"eval/{FILE}")
    assert file is not None
    scores: dict[str, float] = {}
    for outcomes in read(file):
        for name in outcomes.metrics:
            metric = instantiate(run.config.task.metrics[name], _convert_="all")
            scores |= compute(metric, outcomes)
    return scores


def compute(metric: Any, outcomes: Outcomes) -> dict[str, float]:
    """By `compute`; that the statistics, if there are any, give the same is asserted on the way."""
    given: dict[str, Any] = {"predictions": outcomes.predictions}
    if outcomes.references is not None:
        given["references"] = outcomes.references
    expected: dict[str, float] = metric.compute(
        **given, **taken_by(metric._compute, outcomes.settings)
    )
    statistics = statistics_of(metric, outcomes)
    found = statistics.resampled(np.ones((1, len(statistics))))
    assert {k: v[0] for k, v in found.items()} == pytest.approx(expected)
    return expected


@pytest.mark.parametrize("task", SMALL_TASKS)
def test_runs_log_what_their_metrics_saw(task: str, project: Path, expkit: Command) -> None:
    options = (*SMALL_TASKS[task], "tracking.log_model=false", "train.max_steps=2")
    done = expkit("-m", *options, "optimizer.lr=1e-4,1e-1")
    assert done.returncode == 0, done.stderr
    ids = finished(project)
    for run_id in ids:
        logged = logged_run(run_id).scores()
        scores = {f"final/{name}": value for name, value in rescored(run_id).items()}
        assert scores
        assert {name: logged[name] for name in scores} == pytest.approx(scores, rel=1e-5)
    done = expkit(ids[0][:10], ids[1][:10], "--resamples", "50", module="expkit.compare")
    assert done.returncode == 0, done.stderr
    assert "paired bootstrap: second − first on" in done.stdout
    tested = done.stdout.partition("paired bootstrap")[2]
    names = rescored(ids[0]).keys() & rescored(ids[1]).keys() - {"map"}  # is no function of sums
    assert all(f" {name} " in tested for name in names)
    done = expkit(module="expkit.report")
    assert done.returncode == 0, done.stderr
    text = (project / "report" / "tables.md").read_text(encoding="utf-8")
    assert ("by characters" in text) == (task != "masked_lm")  # which logs no inputs


def test_runs_on_other_examples_are_refused(project: Path, expkit: Command) -> None:
    for sizes in ("data.sizes.validation=32", "data.sizes.validation=24"):
        done = expkit(*TINY, "train.max_steps=2", "tracking.log_model=false", sizes)
        assert done.returncode == 0, done.stderr
    ids = finished(project)
    done = expkit(*ids, module="expkit.compare")
    assert done.returncode == 1
    assert done.stderr == (
        f"expkit.compare: runs {ids[0]} and {ids[1]}: cannot be tested example by example: "
        "one was scored on 32 examples, the other on 24\n"
    )


def test_metrics_of_ones_own_package_have_to_be_trusted(project: Path, expkit: Command) -> None:
    """And one without statistics is computed anew for each draw."""
    (project / "mine.py").write_text(
        "from expkit.metrics.classification import Accuracy\n"
        "class Mine(Accuracy):\n"
        "    statistics = property()\n"
        "    def _compute(self, predictions, references):\n"
        "        return {'mine': super()._compute(predictions, references)['accuracy']}\n"
    )
    options = ("train.max_steps=2", "tracking.log_model=false", "trusted_modules=[mine]")
    metric = "+task.metrics.mine._target_=mine.Mine"
    done = expkit("-m", *TINY, *options, metric, "seed=1,2")
    assert done.returncode == 0, done.stderr
    ids = finished(project)
    done = expkit(*ids, module="expkit.compare")
    assert done.returncode == 1
    assert re.search(r"task\.metrics\.mine\._target_=mine\.Mine.*use --trust", done.stderr)
    done = expkit(*ids, "--trust", "mine", module="expkit.compare")
    assert done.returncode == 0, done.stderr
    tested = done.stdout.partition("paired bootstrap")[2]
    of_accuracy, of_mine = (
        re.search(rf" {name} +│(.*)", tested)[1] for name in ("accuracy", "mine")
    )
    assert of_mine == of_accuracy
    assert " matthews " in tested
