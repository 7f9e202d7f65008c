"""How long `expkit rescore` and the verdict take for a sweep of many finished runs.

python -m benchmarks.rescore --runs 100 --examples 10000

The runs have outcomes, but nobody has trained them. They are made in a temporary project.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from expkit.config.composition import composed
from expkit.config.resolved import runnable
from expkit.metrics import outcomes
from expkit.metrics.outcomes import Outcomes
from expkit.tracking import store
from expkit.tracking.past import DATA_CONTEXT, FINGERPRINT, KIND, SWEEP, runs_with
from expkit.tracking.store import experiment_ids
from expkit.tracking.verdicts import judged

METRIC = ("kappa=expkit.metrics.scikit.Scikit", "function=sklearn.metrics.cohen_kappa_score")


def main() -> None:
    """Make the runs, rescore them in a process of its own, and do it again, when nothing is left to do."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescore", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--examples", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("outputs").mkdir()
        sweep = finished_sweep(given.runs, given.examples)
        for what in ("first", "again"):
            before, used = time.perf_counter(), cpu_seconds()
            command = [sys.executable, "-m", "expkit.rescore", sweep, "--metric", *METRIC]
            done = subprocess.run(command, capture_output=True, text=True)
            seconds = time.perf_counter() - before
            assert done.returncode == 0, done.stderr
            each = f"{given.runs} runs with {given.examples} examples each"
            print(f"{what}: {each}: {seconds:.1f} s, {cpu_seconds() - used:.1f} s of CPU")
        print(done.stdout.splitlines()[-1])
        print(f"the verdict over {given.runs} of them: {seconds_of_verdict(sweep):.1f} s")


def cpu_seconds() -> float:
    """What the processes that have ended have used; it depends less on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds_of_verdict(sweep: str) -> float:
    """How long the verdict takes if each run is a configuration of its own."""
    client = store.connect(None)
    runs = runs_with(client, experiment_ids(client), SWEEP, sweep)
    each = {run.info.run_id: [[run.info.run_id]] for run in runs}
    before = time.perf_counter()
    judged(each, "final/f1", "maximize", frozenset(), client=client)
    return time.perf_counter() - before


def finished_sweep(runs: int, examples: int) -> str:
    """The id of a sweep in the store of this folder, whose runs differ in their seeds."""
    client = store.connect(None)
    experiment = store.experiment_id(client, "rescore")
    sweep = str(client.create_run(experiment, tags={KIND: "sweep"}).info.run_id)
    cfg = composed(["task=text_classification"])
    true = np.random.default_rng(0).integers(2, size=examples)
    for seed in range(runs):
        cfg.seed = seed
        predicted = np.where(np.random.default_rng(seed + 1).random(examples) < 0.8, true, 1 - true)
        run = client.create_run(experiment, tags={SWEEP: sweep, FINGERPRINT: str(seed)}).info.run_id
        client.log_inputs(run, [_validation(examples)])
        client.log_text(run, yaml.safe_dump(runnable(cfg)), "run.yaml")
        with tempfile.TemporaryDirectory() as folder:
            outcomes.write(_parts(predicted, true), Path(folder, outcomes.FILE))
            client.log_artifacts(run, folder, "eval")
        client.log_batch(run, [Metric("final/loss", 0.5, 0, 0)])
        client.set_terminated(run)
    client.set_terminated(sweep)
    return sweep


def _validation(examples: int) -> DatasetInput:
    profile = json.dumps({"num_rows": examples})
    data = Dataset("generated", "0" * 32, "local", json.dumps({"uri": "nowhere"}), profile=profile)
    return DatasetInput(data, [InputTag(DATA_CONTEXT, "validation")])


def _parts(predicted: np.ndarray, true: np.ndarray) -> list[Outcomes]:
    """What text classification keeps: labels, and the probability of each of them."""
    names, further = ["accuracy", "f1", "matthews"], {"num_labels": 2}
    sure = [
        [label, p]
        for label, p in zip(
            predicted.tolist(), np.linspace(0.5, 1, len(true)).tolist(), strict=True
        )
    ]
    return [
        Outcomes("0" * 32, names, predicted.tolist(), true.tolist(), settings=further),
        Outcomes("0" * 32, ["ece"], sure, true.tolist(), settings=further),
    ]


if __name__ == "__main__":
    main()
