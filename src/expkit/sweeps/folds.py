"""What the folds of a configuration say together."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expkit.comparison.bootstrap import Interval
from expkit.comparison.folds import pooled, scores_of
from expkit.comparison.groups import FOLD
from expkit.metrics.names import key_of
from expkit.metrics.outcomes import FILE, Outcomes, read
from expkit.metrics.result import FINAL, final_of
from expkit.sweeps.plan import named
from expkit.tracking.note import Row

Artifact = Callable[[str, str], Path | None]  # of (the id of a run, a path)


@dataclass(frozen=True)
class OverFolds:
    """A configuration whose folds have all finished, or the rows of those that have.

    Args:
        row: stands for the configuration; its value is the mean over folds, None if folds are missing.
        pooled: the scores of all predictions together, by key such as `final/f1`; empty if folds are missing.
    """

    row: Row
    folds: Sequence[Row]
    pooled: Mapping[str, Interval]

    def table(self) -> list[dict[str, Any]]:
        """Return a record for each metric: mean and standard deviation over folds, and the pooled score."""
        names = dict.fromkeys(m for fold in self.folds for m in fold.metrics if m.startswith(FINAL))
        records = []
        for name in names:
            values = [fold.metrics[name] for fold in self.folds if name in fold.metrics]
            found = self.pooled.get(name)
            records.append(
                {
                    "configuration": self.row.name,
                    "metric": name.removeprefix(FINAL),
                    "mean": statistics.fmean(values),
                    "sd": statistics.stdev(values) if len(values) > 1 else None,
                    "pooled": found and found.score,
                    "low": found and found.low,
                    "high": found and found.high,
                    "folds": len(values),
                }
            )
        return records


def over_folds(
    rows: Sequence[Row], metrics: Sequence[Mapping[str, Any]], artifact: Artifact
) -> list[OverFolds]:
    """Put the folds of each configuration together; empty for a sweep without folds.

    Args:
        metrics: `task.metrics` of each row.
    """
    members: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for i, row in enumerate(rows):
        if FOLD in row.differing:
            rest = {k: v for k, v in row.differing.items() if k != FOLD}
            members.setdefault(tuple(rest.items()), []).append(i)
    return [
        _together([rows[i] for i in numbers], metrics[numbers[0]], artifact)
        for numbers in members.values()
    ]


def _together(folds: Sequence[Row], metrics: Mapping[str, Any], artifact: Artifact) -> OverFolds:
    first = folds[0]
    differing = {k: v for k, v in first.differing.items() if k != FOLD}
    are_done = all(fold.state == "FINISHED" and fold.value is not None for fold in folds)
    row = replace(
        first,
        name=named(differing) or "all folds",
        differing=differing,
        state="FINISHED" if are_done else "FAILED",
        value=statistics.fmean(fold.value or 0 for fold in folds) if are_done else None,
        run_id="",
        runs=[fold.run_id for fold in folds],
        metrics={},
    )
    parts: dict[tuple[str, str], list[Outcomes]] = {}
    for fold in folds if are_done else ():
        file = artifact(fold.run_id, f"eval/{FILE}")
        if file is None:  # a task without metrics
            return OverFolds(row, folds, {})
        parts["", fold.differing[FOLD]] = read(file)
    scores = scores_of(pooled(parts), metrics) if parts else {}
    return OverFolds(row, folds, {key_of(FINAL + name): score for name, score in scores.items()})


def fold_cells(found: Sequence[OverFolds]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of the objective."""
    objective = final_of(found[0].row.objective)
    rows = []
    for configuration in found:
        scores = {FINAL + record["metric"]: record for record in configuration.table()}
        score = scores.get(key_of(final_of(configuration.row.objective)))
        if score is None or configuration.row.value is None:
            done = sum(fold.state == "FINISHED" for fold in configuration.folds)
            rows.append(
                [configuration.row.name, f"{done} of {len(configuration.folds)} folds", "", ""]
            )
            continue
        spread = "" if score["sd"] is None else f" ± {score['sd']:.4f}"
        total = "" if score["pooled"] is None else f"{score['pooled']:.4f}"
        bounds = "" if score["low"] is None else f"{score['low']:.4f} to {score['high']:.4f}"
        rows.append([configuration.row.name, f"{score['mean']:.4f}{spread}", total, bounds])
    return ["over folds", f"{objective}: mean ± sd", "all predictions", "95 % interval"], rows
