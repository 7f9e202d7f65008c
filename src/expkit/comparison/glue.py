"""The table of the GLUE benchmark: a row for each configuration of a sweep, a column for each task."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from expkit.config.glue import tasks
from expkit.terminal.display import console, table

# The name of a job's task, the overrides by which jobs differ, and its metrics; none if it has not finished.
Scored = tuple[str, Mapping[str, str], Mapping[str, float]]


def table_of(jobs: Sequence[Scored]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of scores times 100, means over seeds; no rows for fewer than two tasks.

    A cell is empty unless all of its jobs have finished. As on the leaderboard, the score of a task is the mean of its
    metrics, and `average` the mean of the nine tasks; `no WNLI` is that of the eight others.
    """
    recipes = {(task, differing.get("experiment")) for task, differing, _ in jobs}
    names = [task for task in tasks() if task in {task for task, _ in recipes}]
    # A recipe for each task says no more than the column; several for one task are configurations.
    told = {"seed", "data.task"} | ({"experiment"} if len(recipes) == len(names) else set())
    runs: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for task, differing, metrics in jobs if len(names) > 1 else ():
        row = " ".join(f"{key}={value}" for key, value in differing.items() if key not in told)
        runs.setdefault(row, {}).setdefault(task, []).append(metrics)
    header = [f"{tasks()[task]['title']} {'/'.join(tasks()[task]['scores'])}" for task in names]
    averages = {"average": [*tasks()], "no WNLI": [task for task in tasks() if task != "wnli"]}
    averages = {title: of for title, of in averages.items() if set(of) <= set(names)}
    rows = []
    for row, by_task in runs.items():
        scores = {task: _scores(task, by_task.get(task, [])) for task in names}
        cells = ["/".join(f"{score:.1f}" for score in scores[task]) for task in names]
        found = [[scores[task] for task in of] for of in averages.values()]
        cells += [f"{fmean(map(fmean, of)):.1f}" if all(of) else "" for of in found]
        rows.append([row, *cells])
    return ["configuration", *header, *averages], rows


def _scores(task: str, runs: Sequence[Mapping[str, float]]) -> list[float]:
    keys = tasks()[task]["scores"].values()
    is_whole = bool(runs) and all(key in run for run in runs for key in keys)
    return [100 * fmean(run[key] for run in runs) for key in keys] if is_whole else []


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the table, with a line for each task where the terminal is too narrow for a column."""
    lines = [[name.replace(" ", "\n") for name in header], *rows]
    turned = list(zip(*lines, strict=True))
    widths = [max(len(part) for cell in cells for part in cell.split("\n")) for cells in turned]
    if sum(widths) + 3 * len(widths) >= console.width:
        lines = [list(cells) for cells in zip(header, *rows, strict=True)]
    if rows:
        table(f"GLUE, {title}", lines[0], lines[1:])
