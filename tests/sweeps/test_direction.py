"""The best job of a sweep and the best trial of a search, whichever way the objective gets better."""

from pathlib import Path
from typing import Literal

import pytest
from optuna.distributions import FloatDistribution

from expkit.sweeps.search.trials import Settings, make_study
from expkit.sweeps.summary import best_rows
from expkit.tracking.note import Row

NAMES = ["f1_Cancer", "mae", "error_rate", "lossless", "wer"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("direction", "best"), [("minimize", ["a"]), ("maximize", ["b"]), ("", [])]
)
def test_the_best_jobs(name: str, direction: str, best: list[str]) -> None:
    scores = {"a": 0.1, "b": 0.9, "c": float("nan")}
    rows = [
        Row(job, {}, "FINISHED", f"eval/{name}", value, task="t", direction=direction)
        for job, value in scores.items()
    ]
    assert [row.name for row in best_rows(rows)] == best


def test_jobs_that_tie_are_all_the_best() -> None:
    values = {"a": 0.5, "b": 0.9, "c": 0.9, "d": 0.1, "e": 0.9}
    rows = [
        Row(job, {}, "FINISHED", "eval/f1", value, task="t", direction="maximize")
        for job, value in values.items()
    ]
    assert [row.name for row in best_rows(rows)] == ["b", "c", "e"]


@pytest.mark.parametrize(("direction", "best"), [("minimize", 0.1), ("maximize", 0.9)])
def test_the_best_trial(
    project: Path, direction: Literal["minimize", "maximize"], best: float
) -> None:
    settings = Settings("study", None, 2, "random", "none", 0, 1)
    space = {"optimizer.lr": FloatDistribution(0, 1)}
    trials = make_study(settings, direction=direction, space=space, search="x", goes_on=False)
    for value in (0.1, 0.9):
        trial = trials.claim()
        assert trial is not None
        trials.tell(trial, value)
    assert trials.study.best_value == best
