"""What a sweep prints at its end: a table, and why jobs failed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from expkit.comparison.report import fold_cells
from expkit.config.direction import MINIMIZE
from expkit.metrics.names import key_of
from expkit.terminal.display import say, table
from expkit.tracking.note import Row, figures, verdicts


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the best jobs, which may tie, for each task and objective; only these can be compared.

    Where there are several contests, a job that is alone in its own is the best of nothing.
    """
    contests: dict[tuple[str, str, str], list[tuple[float, Row]]] = {}
    for row in rows:
        if row.value is not None and row.value == row.value and row.direction:
            contests.setdefault(row.contest, []).append((row.value, row))
    best = []
    for (_, _, direction), members in contests.items():
        choose = min if direction == MINIMIZE else max
        top = choose(value for value, _ in members)
        if len(members) > 1 or len(contests) == 1:
            best += [row for value, row in members if value == top]
    return best


def show(
    name: str,
    run_id: str,
    rows: Sequence[Row],
    best: Sequence[Row],
    marked: Collection[str],
    words: Sequence[str],
    records: Sequence[Mapping[str, Any]],
) -> None:
    """Print the table of jobs, the scores over folds, why jobs failed, which are the best, and the verdict in words."""
    title, shown = figures(rows)
    cells = [
        [row.name, row.state.lower(), value + "*" * (row.run_id in marked), time, row.run_id[:8]]
        for row, (value, time) in zip(rows, shown, strict=True)
    ]
    table(name, ["job", "state", title, "time", "run"], cells)
    # A further set is the same for all folds, so that only the validation splits have scores over folds.
    objectives = {key_of(row.objective.partition("/")[2]) for row in rows}
    if chosen := [record for record in records if record["metric"] in objectives]:
        table("over folds", *fold_cells(chosen))
    for row in rows:
        if row.state not in ("FINISHED", "PRUNED"):
            place = f" (run {row.run_id})" if row.run_id else ""
            say(f"{row.state.lower()}: {row.name}: {row.error or 'it still runs elsewhere'}{place}")
    for line in verdicts(best):
        say(f"best     {line}")
    for line in words:
        say(f"verdict  {line}")
    say(f"sweep    {run_id}")
    say("compare  python -m expkit.compare")
