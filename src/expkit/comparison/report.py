"""Show groups as a table in the terminal, in Markdown and in CSV."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.comparison.bootstrap import Difference
from expkit.comparison.groups import FINISHED, ComparedRun, Group, short_names
from expkit.metrics.result import FINAL
from expkit.terminal.display import console, table, tell

VALUE_LIMIT = 24  # characters of a parameter in a table
ID_LENGTH = 8  # characters of a run's id in a table; commands find the run by them


@dataclass(frozen=True)
class Grid:
    """The cells of a table; `best` holds the numbers of the rows with the best groups."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Sequence[int]


def grid(groups: Sequence[Group], metrics: Sequence[str], best: Sequence[Group]) -> Grid:
    """Make a row for each group: what differs, mean ± deviation of each metric, seeds, best run."""
    keys = list(groups[0].differing)
    names = short_names(keys) or ["job"]
    decimals = {metric: _decimals(groups, metric) for metric in metrics}
    rows = []
    for group in groups:
        only_name = group.jobs[0].name if len(group.jobs) == 1 else "all seeds"
        differing = list(group.differing.values()) if keys else [only_name]
        scores = [_score(group, metric, decimals[metric]) for metric in metrics]
        if group in best and group.objective in metrics:
            scores[list(metrics).index(group.objective)] += "*"
        run = group.best_job.run_id[:ID_LENGTH]
        rows.append([*map(_cut, differing), *scores, str(len(group.jobs)), run])
    columns = [*names, *(m.removeprefix(FINAL) for m in metrics), "n", "run"]
    return Grid(columns, rows, [groups.index(group) for group in best])


def show(
    title: str,
    groups: Sequence[Group],
    jobs: Sequence[ComparedRun],
    metrics: Sequence[str],
    best: Sequence[Group],
    verdict: Sequence[str],
) -> None:
    """Print as much of the table as the terminal is wide, the verdict, and the jobs that have not finished.

    Args:
        best: the groups to mark.
    """
    if groups:
        fitting, left_out = _fitting(grid(groups, metrics, best), len(metrics))
        table(title, fitting.columns, fitting.rows, bold=fitting.best)
        if legend := _legend(groups, fitting):
            tell(legend)
        for line in verdict:
            tell(f"verdict: {line}")
        if left_out:
            tell(f"not shown for want of room: {', '.join(left_out)} (--csv has all)")
    for job in jobs:
        if job.state != FINISHED:
            place = f" (run {job.run_id})" if job.run_id else ""
            reason = f": {job.error}" if job.error else ""
            tell(f"{job.state.lower()}: {job.name}{reason}{place}")


def write_csv(file: Path, groups: Sequence[Group], jobs: Sequence[ComparedRun]) -> None:
    """Write `all_cells` to a file."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([*all_cells(groups, jobs)])


def all_cells(groups: Sequence[Group], jobs: Sequence[ComparedRun]) -> Iterator[list[Any]]:
    """Yield a header, and rows of all metrics in full precision; a job that did not finish is a row with its state."""
    keys = list(groups[0].differing) if groups else []
    metrics = sorted({m for group in groups for job in group.jobs for m in job.metrics})
    metrics = [name for name in metrics if not name.startswith("train/")]
    header = [*keys, "state", "n", "runs", "objective", "error"]
    yield [*header, *(name for m in metrics for name in (m, f"{m} sd"))]
    for group in groups:
        runs = " ".join(job.run_id for job in group.jobs)
        scores = [v for m in metrics for v in (group.mean(m), group.deviation(m))]
        outcome = [FINISHED, len(group.jobs), runs, group.objective, ""]
        yield [*group.differing.values(), *outcome, *scores]
    for job in jobs:
        if job.state != FINISHED:
            differing = [job.chosen.get(key, job.params.get(key, "")) for key in keys]
            outcome = [job.state, 1, job.run_id, job.objective, job.error]
            yield [*differing, *outcome, *[None] * 2 * len(metrics)]


def markdown(
    groups: Sequence[Group],
    jobs: Sequence[ComparedRun],
    metrics: Sequence[str],
    best: Sequence[Group],
    verdict: Sequence[str],
    differences: Sequence[Difference],
) -> str:
    """Return the same tables in Markdown, with the best groups in bold."""
    parts = []
    if groups:
        made = grid(groups, metrics, best)
        rows = [
            [f"**{cell.removesuffix('*')}**" if i in made.best and cell else cell for cell in row]
            for i, row in enumerate(made.rows)
        ]
        parts.append(_markdown_table(made.columns, rows))
    if verdict:
        parts.append("".join(f"- {line}\n" for line in verdict))
    unfinished = [[j.name, j.state.lower(), j.error, j.run_id] for j in jobs if j.state != FINISHED]
    if unfinished:
        parts.append(_markdown_table(["job", "state", "why", "run"], unfinished))
    if differences:
        parts.append(_markdown_table(*difference_cells(differences)))
    return "\n".join(parts)


def difference_cells(differences: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of what the bootstrap found."""
    columns = ["metric", "first", "second", "difference", "95 % interval", "p"]
    rows = []
    for d in differences:
        places = 2 if max(abs(d.first), abs(d.second)) >= 10 else 4
        interval = f"{d.low:+.{places}f} to {d.high:+.{places}f}"
        scores = [f"{d.first:.{places}f}", f"{d.second:.{places}f}", f"{d.difference:+.{places}f}"]
        rows.append([d.metric, *scores, interval, f"{d.p:.3f}"])
    return columns, rows


def fold_cells(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of what `folds.records_of` has made."""
    rows = []
    for r in records:
        mean = f"{r['mean']:.4f}" + ("" if r["sd"] is None else f" ± {r['sd']:.4f}")
        pooled = "" if r["pooled"] is None else f"{r['pooled']:.4f}"
        bounds = "" if r["low"] is None else f"{r['low']:.4f} to {r['high']:.4f}"
        rows.append([r["metric"], r["configuration"], mean, pooled, bounds])
    return ["metric", "configuration", "mean ± sd", "all predictions", "95 % interval"], rows


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in line)} |\n" for line in lines
    )


def _fitting(made: Grid, metrics: int) -> tuple[Grid, list[str]]:
    """Leave out columns until the terminal is wide enough: metrics first, then the run."""
    # Each column takes three characters more, for spaces and a line, and the table one for its last line.
    widths = [max(map(len, cells)) + 3 for cells in zip(made.columns, *made.rows, strict=True)]
    kept = list(range(len(widths)))
    run, last = kept[-1], kept[-3]  # the last metric stands before the columns "n" and "run"
    for column in (*range(last, last - metrics + 1, -1), run):
        if sum(widths[i] for i in kept) + 1 > console.width:
            kept.remove(column)
    left_out = [name for i, name in enumerate(made.columns) if i not in kept]
    columns, *rows = ([line[i] for i in kept] for line in (made.columns, *made.rows))
    return Grid(columns, rows, made.best), left_out


def _decimals(groups: Sequence[Group], metric: str) -> int:
    """Return 2 for percentages and perplexities, and 4 for shares."""
    values = [abs(mean) for group in groups if (mean := group.mean(metric)) is not None]
    return 2 if values and max(values) >= 10 else 4


def _score(group: Group, metric: str, decimals: int) -> str:
    mean, deviation = group.mean(metric), group.deviation(metric)
    if mean is None:
        return ""
    spread = "" if deviation is None else f" ± {deviation:.{decimals}f}"
    count = len(group.values(metric))
    return f"{mean:.{decimals}f}{spread}" + (f" of {count}" if count < len(group.jobs) else "")


def _legend(groups: Sequence[Group], shown: Grid) -> str:
    parts = []
    if shown.best:
        contests = len({group.contest for group in groups})
        of_all = " of its task and objective" if contests > 1 else ""
        several = len(shown.best) > contests
        parts.append(f"* {'cannot be told from the best' if several else 'best'}{of_all}")
    if unknown := ", ".join(dict.fromkeys(g.objective for g in groups if not g.direction)):
        parts.append(f"no best of {unknown}: nothing says whether less or more of it is better")
    if any(len(group.jobs) > 1 for group in groups):
        what = "runs, of all folds and seeds" if any(g.jobs[0].fold for g in groups) else "seeds"
        parts.append(f"mean ± standard deviation over n {what}")
    return "   ".join(parts)


def _cut(value: str) -> str:
    return value if len(value) <= VALUE_LIMIT else f"{value[: VALUE_LIMIT - 1]}…"
