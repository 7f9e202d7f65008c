"""Workers of a search that die together: only the trial that takes them down fails."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from optuna.distributions import FloatDistribution
from optuna.trial import Trial

from expkit.processes.context import JobContext
from expkit.sweeps.search.study import fill
from expkit.sweeps.search.trials import ERROR, Settings, Trials, make_study
from expkit.tracking.store import PID
from expkit.tracking.sweep import DIED, SweepRun

DEADLY = 2  # the number of the trial


class Pool(Launcher):
    """Workers that run one trial each, and die together if one of them gets the deadly trial."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials
        self.launches: list[list[int]] = []
        self.most: list[int] = []

    def setup(self, **_: object) -> None:
        """Nothing to remember."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Raise as joblib does when a process has died."""
        _, _, told = job_overrides[0][-1].partition("=")
        self.most.append(json.loads(told.strip("'"))["search"]["most"])
        claimed = [trial for _ in job_overrides if (trial := self.trials.claim())]
        self.launches.append([trial.number for trial in claimed])
        for trial in claimed:
            if DEADLY in self.launches[-1]:
                trial.set_user_attr(PID, "999999999")
            else:
                self.trials.tell(trial, 1.0)
        if DEADLY in self.launches[-1]:
            raise RuntimeError("the pool is broken")
        return []


def study(name: str, storage: str | None) -> Trials:
    settings = Settings(name, storage, 5, "random", "none", 0, 1)
    space = {key: FloatDistribution(0, 1) for key in ("optimizer.lr", "model.dropout")}
    direction = "minimize"
    return make_study(settings, direction=direction, space=dict(space), search="x", goes_on=False)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_the_deadly_trial_fails_alone(project: Path, kind: str) -> None:
    storage = f"sqlite:///{project}/study.db" if kind == "sqlite" else None
    trials = study("deadly", storage)
    pool = Pool(trials)
    opened = SweepRun(cast(Any, None), "", "", "", False, frozenset())
    fill(opened, trials, pool, [], 2, JobContext(), stops=False)
    assert pool.launches == [[0, 1], [2, 3], [2], [3], [4]]
    assert pool.most == [5, 3, 2, 1, 1]
    ended = trials.begun()
    assert [trial.state.name for trial in ended] == [
        *("COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE")
    ]
    assert ended[DEADLY].user_attrs[ERROR] == DIED
    undisturbed = study("undisturbed", storage)
    claimed = [undisturbed.claim() for _ in range(5)]
    assert [trial.params for trial in ended] == [cast(Trial, trial).params for trial in claimed]
    assert undisturbed.claim() is None
