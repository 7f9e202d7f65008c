"""A job whose process has died on another machine, which nobody here can see."""

from pathlib import Path

from expkit.sweeps.plan import Job
from expkit.tracking import store
from expkit.tracking.past import FINGERPRINT, SWEEP
from expkit.tracking.sweep import open_sweep


def test_its_run_is_closed_and_no_other(project: Path) -> None:
    config = {
        "tracking": {"uri": None, "experiment": "x"},
        "resume": "never",
        "objective": "eval/f1",
        "run_name": None,
    }
    jobs = [Job(number, (), {"seed": str(number)}, config, f"facts{number}") for number in (1, 2)]
    client = store.connect(None)
    experiment = store.experiment_id(client, "x")
    with open_sweep(config, "sweep", "sweep seed", []) as opened:
        for job in jobs:
            tags = {SWEEP: opened.id, FINGERPRINT: job.fingerprint, store.HOST: "another"}
            client.create_run(experiment, run_name=job.name, tags=tags)
        assert [row.state for row in opened.rows(jobs)] == ["RUNNING", "RUNNING"]
        opened.end_lost(jobs[0])
        assert [row.state for row in opened.rows(jobs)] == ["KILLED", "RUNNING"]
