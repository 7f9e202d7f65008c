"""Show the runs of a sweep, or chosen runs, side by side.

The table shows what differs between them, and the mean ± standard deviation over seeds. A paired bootstrap
also tests two runs example by example, on the validation split or the one that --set names.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.commands import add_trust
from expkit.metrics.result import FINAL, VALIDATION
from expkit.terminal.display import say, table, tell
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    from expkit.comparison.bootstrap import Difference
    from expkit.comparison.groups import ComparedRun, Group
    from expkit.metrics.outcomes import Outcomes
    from expkit.tracking.jobs import Selection
    from expkit.tracking.verdicts import Judged

Scored = tuple["list[Outcomes]", dict[str, Any]]  # outcomes, and the settings of their metrics


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "ids of sweeps or runs, or their first characters (default: the last sweep)"
    parser.add_argument("ids", nargs="*", metavar="ID", help=about)
    parser.add_argument(
        "--metrics", nargs="+", default=[], metavar="NAME", help="show these, such as loss test/f1"
    )
    about = "an evaluation set whose scores are compared, such as test (default: validation)"
    parser.add_argument("--set", default=VALIDATION, metavar="NAME", help=about)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all metrics to a file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to a file")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the objective to a .png, .svg or .pdf file"
    )
    about = "sets of examples that the bootstrap draws (default: 1000)"
    parser.add_argument("--resamples", type=_positive, default=1000, help=about)
    about = "seed of the bootstrap (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=about)
    add_trust(parser, "the metrics of two runs")
    return parser


@dataclass(frozen=True)
class Compared:
    """What a comparison has found: the groups of runs, what to show of them, and the verdicts on them."""

    selection: "Selection"
    jobs: "Sequence[ComparedRun]"
    groups: "Sequence[Group]"
    metrics: Sequence[str]
    best: "Sequence[Group]"
    verdicts: "Sequence[Judged]"
    lines: Sequence[str]


def compared(options: argparse.Namespace) -> Compared:
    """Find the runs to compare, group them, and judge the groups. Raises UserError."""
    from expkit.comparison.groups import grouped, metrics_to_show, require_scored
    from expkit.tracking.jobs import select
    from expkit.tracking.verdicts import rivals_of, verdicts_of, words_of

    selection = select(options.ids)
    jobs, group = selection.jobs, FINAL
    if options.set != VALIDATION:
        require_scored(jobs, options.set)
        jobs, group = [job.on_set(options.set) for job in jobs], f"{options.set}/"
    groups = grouped(jobs)
    metrics = metrics_to_show(groups, options.metrics, group) if groups else []
    how = {"resamples": options.resamples, "seed": options.seed}
    rivals, level, words = rivals_of(groups, selection.sweeps)
    judged = verdicts_of(rivals, frozenset(options.trust), level=level, **how)
    best = [group for each in judged for group in each.surviving()]
    best = best or ([*rivals] if words else [])
    return Compared(selection, jobs, groups, metrics, best, judged, [*words, *words_of(judged)])


def differences_of(found: Compared, options: argparse.Namespace) -> "list[Difference]":
    """Print the paired bootstrap of two runs, or of the best configuration and each other one over all folds."""
    has_folds = any(job.fold for group in found.groups for job in group.jobs)
    if options.set != VALIDATION or not has_folds:
        return _bootstrap(found.jobs, options) if found.selection.pair else []
    try:
        return _over_folds(found.groups, options)
    except UserError as error:  # such as a task without metrics; the table above stays
        tell(f"the folds cannot be scored together: {error}")
        return []


def run(options: argparse.Namespace) -> bool:
    """Print the table, and write the files that were asked for."""
    from expkit.comparison import glue, plot, report
    from expkit.metrics.pictures import draw_plainly
    from expkit.tracking.verdicts import standings_of

    if options.plot:
        plot.require_picture(options.plot)
    found = compared(options)
    groups, jobs, shown = found.groups, found.jobs, (found.metrics, found.best, found.lines)
    report.show(found.selection.title, groups, jobs, *shown)
    for title, (columns, rows) in found.selection.glue.items():
        glue.show(title, columns, rows)
    differences = differences_of(found, options)
    try:
        if options.csv:
            report.write_csv(options.csv, groups, jobs)
        if options.markdown:
            text = report.markdown(groups, jobs, *shown, differences)
            options.markdown.write_text(text, encoding="utf-8")
        if options.plot and groups:
            draw_plainly(partial(plot.draw, groups, standings_of(found.verdicts)), options.plot)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    for file in filter(None, (options.csv, options.markdown, options.plot if groups else None)):
        say(f"written  {file}")
    return True


def _bootstrap(jobs: "Sequence[ComparedRun]", options: argparse.Namespace) -> "list[Difference]":
    """Print by how much the metrics of two runs differ, and how certain each difference is."""
    from expkit.comparison.paired import DifferentExamples

    first, second = (_outcomes(job, options) for job in jobs)
    names = [f"{job.name} ({job.run_id[:8]})" for job in jobs]
    try:
        return _differences(names, first, second, options)
    except DifferentExamples as error:
        ids = " and ".join(job.run_id for job in jobs)
        raise UserError(f"runs {ids}: cannot be tested example by example: {error}") from None


def _over_folds(groups: "Sequence[Group]", options: argparse.Namespace) -> "list[Difference]":
    """Print the scores of each configuration on the predictions of all of its folds together.

    Each configuration but the best is then compared with the best on the same predictions.
    """
    from expkit.comparison.folds import complete, pooled, records_of, scores_of
    from expkit.comparison.paired import DifferentExamples
    from expkit.comparison.report import fold_cells

    records = []
    made: dict[str, tuple[dict[Any, list[Outcomes]], dict[str, Any]]] = {}
    for group in groups:
        name = " ".join(f"{k}={v}" for k, v in group.differing.items()) or "all folds"
        runs = {(job.params.get("seed", ""), job.fold): job for job in group.jobs}
        kept = complete(runs, int(group.jobs[0].params["data.folds"]))
        if len(kept) < len(runs):
            tell(
                f"left out of the pooled scores: {len(runs) - len(kept)} runs of {name}, whose seed lacks folds"
            )
        found = {key: _outcomes(runs[key], options) for key in kept}
        if found:
            settings = next(iter(found.values()))[1]
            parts = {key: part for key, (part, _) in found.items()}
            scores = scores_of(pooled(parts), settings, options.resamples, options.seed)
            records += records_of(name, [runs[key].metrics for key in kept], scores)
            made[name] = parts, settings
    if not made:
        return []
    table("all folds together", *fold_cells(records))
    (best, (parts, settings)), *others = made.items()
    differences: list[Difference] = []
    for name, (other, its_settings) in others:
        same = parts.keys() & other.keys()  # the seeds of both
        if same:
            first, second = (
                pooled({key: of_one[key] for key in same}) for of_one in (parts, other)
            )
            try:
                pair = (first, settings), (second, its_settings)
                differences += _differences([best, name], *pair, options)
            except DifferentExamples as error:
                tell(f"{best} and {name} cannot be tested example by example: {error}")
    return differences


def _outcomes(job: "ComparedRun", options: argparse.Namespace) -> Scored:
    """Return what the metrics of a run have compared, and the settings of these metrics."""
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run

    hush()
    run = logged_run(job.run_id)
    outcomes = run.outcomes(options.set)
    if outcomes is None:
        raise UserError(
            f"run {run.id}: has logged no outcomes of {options.set}, so there is nothing to draw a bootstrap "
            f"from (state {job.state}; a task without metrics logs none)"
        )
    run.require_trusted("task.metrics", frozenset(options.trust))
    return outcomes, run.metrics()


def _differences(
    names: Sequence[str], first: Scored, second: Scored, options: argparse.Namespace
) -> "list[Difference]":
    """Print the paired bootstrap of two runs, or of two configurations over all folds."""
    from expkit.comparison import report
    from expkit.comparison.bootstrap import paired_bootstrap
    from expkit.comparison.paired import statistics_pairs

    pairs, left_out = statistics_pairs(first[0], second[0], (first[1], second[1]))
    for reason in left_out:
        tell(f"left out of the bootstrap: {reason}")
    if not pairs:
        return []
    found = paired_bootstrap(pairs, options.resamples, options.seed)
    for word, name in zip(("\nfirst", "second"), names, strict=True):
        tell(f"{word} = {name}")
    count = len(pairs[0][0])
    title = f"paired bootstrap: second − first on {count} examples, {options.resamples} resamples"
    table(title, *report.difference_cells(found))
    return found


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: must be at least 1")
    return value
