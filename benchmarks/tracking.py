"""What it costs to log to MLflow: metrics in each step, and the model at the end."""

import sys
from pathlib import Path

from benchmarks.contest import Claim, Contest, Measures, Turn, measured


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """Against MLflow's own functions; nothing is claimed."""
    return [
        Contest(
            what,
            {who: tracked(what, who) for who in ("expkit", "mlflow")},
            [Claim(measure, "expkit", "mlflow")],
        )
        for what, measure in (("log_metrics", "seconds_per_call"), ("log_model", "seconds"))
    ]


def tracked(what: str, who: str) -> Turn:
    """A process that logs to a new store."""

    def turn(folder: Path) -> Measures:
        command = [sys.executable, "-m", "benchmarks.tracking_run", str(folder), what, who]
        return measured(command, folder)

    return turn
