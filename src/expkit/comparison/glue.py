"""The table of the GLUE benchmark: a row for each configuration of a sweep, a column for each task."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from expkit.config.glue import tasks
from expkit.terminal.display import console, table

# The name of a job's task, the overrides by which jobs differ, and its metrics; none if it has not finished.
Scored = tuple[str, Mapping[str, str], Mapping[str, float]]
Columns = dict[str, list[str]]


def table_of(jobs: Sequence[Scored]) -> Columns:
    """Return the scores times 100, as means over seeds; nothing for jobs of fewer than two tasks.

    A cell is empty unless all of its jobs have finished. As on the leaderboard, the score of a task is the mean of its
    metrics, and `average` the mean of the nine tasks; `no WNLI` is that of the eight others.
    """
    recipes = {(task, differing.get("experiment")) for task, differing, _ in jobs}
    names = {task for task, _ in recipes}
    # A recipe for each task says no more than the column; several for one task are configurations.
    told = {"seed", "data.task"} | ({"experiment"} if len(recipes) == len(names) else set())
    runs: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for task, differing, metrics in jobs:
        row = " ".join(f"{key}={value}" for key, value in differing.items() if key not in told)
        runs.setdefault(row, {}).setdefault(task, []).append(metrics)
    scores = {(row, t): _scores(t, runs[row].get(t, [])) for row in runs for t in names}
    columns = {"configuration": list(runs)}
    for task, about in tasks().items():
        if task in names:
            texts = ["/".join(f"{score:.1f}" for score in scores[row, task]) for row in runs]
            columns[f"{about['title']} {'/'.join(about['scores'])}"] = texts
    for title, wanted in (("average", tasks().keys()), ("no WNLI", tasks().keys() - {"wnli"})):
        if wanted <= names:
            found = [[scores[row, task] for task in wanted] for row in runs]
            columns[title] = [f"{fmean(map(fmean, s)):.1f}" if all(s) else "" for s in found]
    return columns if len(names) > 1 else {}


def _scores(task: str, runs: Sequence[Mapping[str, float]]) -> list[float]:
    keys = tasks()[task]["scores"].values()
    is_whole = bool(runs) and all(key in run for run in runs for key in keys)
    return [100 * fmean(run[key] for run in runs) for key in keys] if is_whole else []


def show(title: str, columns: Columns) -> None:
    """Print the table, with a row for each task where the terminal is too narrow for a column."""
    lines = [[name.replace(" ", "\n"), *cells] for name, cells in columns.items()]
    widths = [max(len(part) for cell in line for part in cell.split("\n")) + 3 for line in lines]
    if sum(widths) < console.width:
        lines = [list(row) for row in zip(*lines, strict=True)]
    table(f"GLUE, {title}", lines[0], lines[1:])
