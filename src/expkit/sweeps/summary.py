"""What a sweep says at its end: a table, and the reasons of failures."""

from collections.abc import Iterable, Sequence

from expkit.config.direction import MINIMIZE
from expkit.display import say, table
from expkit.metrics.result import final_of
from expkit.tracking.note import Row, verdicts


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """The best job for each task and objective, and those that tie with it; others cannot be compared."""
    best: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.value is None or row.value != row.value or not row.direction:
            continue
        contest = row.task, row.objective, row.direction
        leaders = best.setdefault(contest, [row])
        assert leaders[0].value is not None
        sign = -1 if row.direction == MINIMIZE else 1
        if sign * row.value > sign * leaders[0].value:
            best[contest] = [row]
        elif row.value == leaders[0].value and row is not leaders[0]:
            leaders.append(row)
    return [row for leaders in best.values() for row in leaders]


def show(name: str, run_id: str, rows: Sequence[Row]) -> None:
    """The table in the terminal, and below it why jobs have failed."""
    objectives = list(dict.fromkeys(row.objective for row in rows))
    best = best_rows(rows)
    cells = []
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4f}"
        if len(objectives) > 1 and value:
            value = f"{final_of(row.objective)} {value}"
        time = "" if row.seconds is None else f"{row.seconds:.0f} s"
        mark = "*" if row in best else ""
        cells.append([row.name, row.state.lower(), value + mark, time, row.run_id[:8]])
    header = final_of(objectives[0]) if len(objectives) == 1 else "objective"
    table(name, ["job", "state", header, "time", "run"], cells)
    for row in rows:
        if row.state not in ("FINISHED", "PRUNED"):
            place = f" (run {row.run_id})" if row.run_id else ""
            say(f"{row.state.lower()}: {row.name}: {row.error or 'it still runs elsewhere'}{place}")
    for line in verdicts(best):
        say(f"* best   {line}")
    say(f"sweep    {run_id}")
    say("compare  python -m expkit.compare")
