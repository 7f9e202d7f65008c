"""A job whose process has died on another machine, which nobody here can see."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from expkit.sweeps.grid import launch_all
from expkit.sweeps.launchers.elsewhere import without_result
from expkit.sweeps.plan import PlannedJob
from expkit.tracking import store
from expkit.tracking.past import FINGERPRINT, SWEEP
from expkit.tracking.sweep import SweepRun, open_sweep

CONFIG = {
    "tracking": {"uri": None, "experiment": "x"},
    "resume": "never",
    "objective": "eval/f1",
    "run_name": None,
    "trusted_modules": [],
}


def test_its_run_is_closed_and_no_other(project: Path) -> None:
    jobs = [
        PlannedJob(number, (), {"seed": str(number)}, CONFIG, f"facts{number}") for number in (1, 2)
    ]
    client = store.connect(None)
    experiment = store.experiment_id(client, "x")
    with open_sweep(CONFIG, "sweep", "sweep seed", []) as opened:
        for job in jobs:
            tags = {SWEEP: opened.id, FINGERPRINT: job.fingerprint, store.HOST: "another"}
            client.create_run(experiment, run_name=job.name, tags=tags)
        assert [row.state for row in opened.rows(jobs)] == ["RUNNING", "RUNNING"]
        opened.end_lost(jobs[0])
        assert [row.state for row in opened.rows(jobs)] == ["KILLED", "RUNNING"]


class Cluster(Launcher):
    """Loses the first job of the first launch; with `runs` after it has begun to run."""

    def __init__(self, opened: SweepRun, runs: Callable[[str], None] | None) -> None:
        self.opened, self.runs = opened, runs
        self.launches: list[list[str]] = []

    def setup(self, **_: object) -> None:
        """Nothing to remember."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run no job."""
        self.launches.append([overrides[0] for overrides in job_overrides])
        done = [JobReturn(overrides=[], status=JobStatus.COMPLETED) for _ in job_overrides]
        if len(self.launches) == 1:
            if self.runs:
                self.runs(job_overrides[0][0])
            done[0] = without_result(job_overrides[0], "OutOfMemoryError: no memory\nis left")
        return done


@pytest.mark.parametrize(("begins", "stops"), [(False, False), (True, False), (False, True)])
def test_one_that_was_lost_before_it_ran_is_launched_once_more(
    begins: bool, stops: bool, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [PlannedJob(n, (f"seed={n}",), {"seed": str(n)}, CONFIG, f"facts{n}") for n in (1, 2)]
    client = store.connect(None)
    experiment = store.experiment_id(client, "x")
    with open_sweep(CONFIG, "sweep", "sweep seed", []) as opened:

        def begin(override: str) -> None:
            tags = {SWEEP: opened.id, FINGERPRINT: "facts1", store.HOST: "another"}
            client.create_run(experiment, run_name=override, tags=tags)

        cluster = Cluster(opened, begin if begins else None)
        launch_all(opened, cluster, jobs, 2, stops=stops)
    again = [] if begins or stops else [["seed=1"]]
    assert cluster.launches == [["seed=1", "seed=2"], *again]
    said = " ".join(capsys.readouterr().out.split())
    assert "no result: seed=1" in said
    assert "OutOfMemoryError: no memory is left" in said
