"""Contestants in turn, round by round, and the ratios between them.

A machine's speed drifts while a benchmark runs, so no absolute time is compared with one from
another moment: in each round every contestant has its turn, and ratios are taken within a round.
"""

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Measures = dict[str, float]  # by name; rates end in `_per_second`, all others are costs
Turn = Callable[[Path], Measures]  # gets an empty folder; returns what it measured


@dataclass(frozen=True)
class Claim:
    """How many times better `ours` has to be than `reference` in a measure."""

    measure: str
    ours: str
    reference: str
    least: float | None = None  # None: reported only


@dataclass(frozen=True)
class Contest:
    """What has its turn in each round, and what is claimed about it."""

    name: str
    turns: Mapping[str, Turn]
    claims: Sequence[Claim]


@dataclass(frozen=True)
class Finding:
    """A claim with the ratios of all rounds; above 1 ours is better."""

    contest: str
    claim: Claim
    ours: list[float]
    reference: list[float]
    ratios: list[float]

    @property
    def median(self) -> float:
        """Of the ratios."""
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool:
        """Whether the median is at least what is claimed."""
        return self.claim.least is None or self.median >= self.claim.least

    def as_json(self) -> dict[str, object]:
        """Everything, for the file of results."""
        return {**asdict(self), "median": self.median, "holds": self.holds}


def hold(contest: Contest, rounds: int) -> list[Finding]:
    """Give every contestant `rounds` turns; the order is reversed in every other round."""
    seen: dict[str, list[Measures]] = {name: [] for name in contest.turns}
    for number in range(rounds):
        order = list(contest.turns) if number % 2 == 0 else list(contest.turns)[::-1]
        for name in order:
            with tempfile.TemporaryDirectory(prefix="expkit-bench-") as folder:
                seen[name].append(contest.turns[name](Path(folder)))
            shown = "  ".join(f"{key} {value:.4g}" for key, value in seen[name][-1].items())
            print(f"  {contest.name}, round {number + 1} of {rounds}, {name}: {shown}", flush=True)
    return [_find(contest.name, claim, seen) for claim in contest.claims]


def _find(name: str, claim: Claim, seen: Mapping[str, Sequence[Measures]]) -> Finding:
    ours = [measures[claim.measure] for measures in seen[claim.ours]]
    reference = [measures[claim.measure] for measures in seen[claim.reference]]
    is_rate = claim.measure.endswith("_per_second")
    ratios = [a / b if is_rate else b / a for a, b in zip(ours, reference, strict=True)]
    return Finding(name, claim, ours, reference, ratios)


def always(**measures: float) -> Turn:
    """A contestant that is no program: a limit to keep."""
    return lambda folder: measures


def measured(command: Sequence[str], folder: Path) -> Measures:
    """Run a program that writes its measures to `result.json` in `folder`."""
    execute(command, folder)
    result: Measures = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def execute(command: Sequence[str], folder: Path, *, status: int = 0, **variables: str) -> str:
    """Run a command in `folder`, as a project of its own; returns what it printed.

    Args:
        status: the exit status to expect.
        variables: of the environment, besides those of this process.

    Raises:
        RuntimeError: it ended in another way; with the end of what it printed.
    """
    (folder / "outputs").mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    checkout = Path(__file__).parents[1]
    done = subprocess.run(
        list(command),
        cwd=folder,
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join(map(str, (checkout, checkout / "src"))),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(folder / "datasets"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != status:
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}"
        )
    return done.stdout
