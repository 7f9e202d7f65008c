"""Jobs as Ray tasks."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import TINY, Command, environment_of


@pytest.mark.slow
def test_four_jobs_at_once_of_which_one_dies(expkit: Command, project: Path) -> None:
    """A job whose process is killed fails alone; the others finish under one parent."""
    (project / "deadly.py").write_text(DEADLY)
    done = expkit(
        "-m",
        "hydra/launcher=ray",
        "seed=1,2,3,4",
        *TINY,
        "train.max_steps=2",
        "tracking.log_model=false",
        "optimizer._target_=deadly.Optimizer",
        "trusted_modules=[deadly]",
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown
    assert "1 of 4 jobs have not finished" in done.stderr
    assert "Traceback" not in done.stderr
    store = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    runs = store.search_runs([e.experiment_id for e in store.search_experiments()])
    (parent,) = (run for run in runs if run.data.tags.get("mlflow.expkit.kind") == "sweep")
    jobs = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in jobs} == {parent.info.run_id}
    ended = {run.data.params["seed"]: run.info.status for run in jobs}
    assert ended == {"1": "FINISHED", "2": "KILLED", "3": "FINISHED", "4": "FINISHED"}
    assert {environment_of(run)["hardware.threads"] for run in jobs} == {"1"}


DEADLY = """
import os, signal, sys
import torch

class Optimizer(torch.optim.AdamW):
    def __init__(self, params, lr, weight_decay=0.0, betas=(0.9, 0.999), eps=1e-8, fused=False):
        super().__init__(params, lr=lr)
        if torch.initial_seed() == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""
