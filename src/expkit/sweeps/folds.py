"""What the folds of each configuration of a sweep say together."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit.comparison.folds import pooled, records_of, scores_of
from expkit.comparison.groups import FOLD
from expkit.metrics.outcomes import FILE, read
from expkit.sweeps.plan import PlannedJob, named
from expkit.tracking.note import Row

Artifact = Callable[[str, str], Path | None]  # of (the id of a run, a path)
Folded = tuple[Row, list[dict[str, Any]]]  # a configuration, and its scores; see `records_of`


def over_folds(rows: Sequence[Row], jobs: Sequence[PlannedJob], artifact: Artifact) -> list[Folded]:
    """Put the folds of each configuration together; empty for a sweep without folds.

    The value of a configuration is the mean over its folds. It has none, and no scores, if one of them has
    not finished.
    """
    members: dict[str, list[tuple[Row, PlannedJob]]] = {}
    for row, job in zip(rows, jobs, strict=True):
        if FOLD in row.differing:
            rest = {key: value for key, value in row.differing.items() if key != FOLD}
            members.setdefault(named(rest) or "all folds", []).append((row, job))
    return [_together(name, pairs, artifact) for name, pairs in members.items()]


def _together(name: str, pairs: Sequence[tuple[Row, PlannedJob]], artifact: Artifact) -> Folded:
    folds = [row for row, _ in pairs]
    row = replace(folds[0], name=name, value=None, run_id="", metrics={})
    values = [fold.value for fold in folds if fold.value is not None]
    if len(values) < len(folds):
        return row, []
    files = {fold.differing[FOLD]: artifact(fold.run_id, f"eval/{FILE}") for fold in folds}
    settings = pairs[0][1].config["task"].get("metrics")
    parts = {("", fold): read(file) for fold, file in files.items() if file}
    # A task may have no metrics; and without one of the files, the score would be that of the other folds.
    scores = scores_of(pooled(parts), settings) if len(parts) == len(folds) else {}
    row = replace(row, value=statistics.fmean(values), runs=[fold.run_id for fold in folds])
    return row, records_of(name, [fold.metrics for fold in folds], scores)
