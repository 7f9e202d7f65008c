"""Show the runs of a sweep, or chosen runs, side by side.

The table shows what differs between them, and the mean ± standard deviation over seeds. A paired bootstrap
also tests two runs example by example, on the validation split or the one that --set names.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.commands import add_trust
from expkit.metrics.result import FINAL, VALIDATION
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    from expkit.comparison.bootstrap import Difference
    from expkit.comparison.groups import ComparedRun


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


def run(options: argparse.Namespace) -> bool:
    """Print the table, and write the files that were asked for."""
    from expkit.comparison import plot, report
    from expkit.comparison.groups import grouped, metrics_to_show, require_scored
    from expkit.metrics.pictures import draw_plainly
    from expkit.terminal.display import say
    from expkit.tracking.jobs import select

    if options.plot:
        plot.require_picture(options.plot)
    selection = select(options.ids)
    jobs, group = selection.jobs, FINAL
    if options.set != VALIDATION:
        require_scored(jobs, options.set)
        jobs, group = [job.on_set(options.set) for job in jobs], f"{options.set}/"
    groups = grouped(jobs)
    metrics = metrics_to_show(groups, options.metrics, group) if groups else []
    report.show(selection.title, groups, jobs, metrics)
    differences = _bootstrap(jobs, options) if selection.pair else []
    try:
        if options.csv:
            report.write_csv(options.csv, groups, jobs)
        if options.markdown:
            text = report.markdown(groups, jobs, metrics, differences)
            options.markdown.write_text(text, encoding="utf-8")
        if options.plot and groups:
            draw_plainly(partial(plot.draw, groups), options.plot)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    for file in filter(None, (options.csv, options.markdown, options.plot if groups else None)):
        say(f"written  {file}")
    return True


def _bootstrap(jobs: "Sequence[ComparedRun]", options: argparse.Namespace) -> "list[Difference]":
    """Print by how much the metrics of two runs differ, and how certain each difference is."""
    from expkit.comparison import report
    from expkit.comparison.bootstrap import paired_bootstrap
    from expkit.comparison.paired import DifferentExamples, statistics_pairs
    from expkit.metrics.outcomes import FILE, read
    from expkit.terminal.display import table, tell
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run

    hush()
    outcomes, settings = [], []
    for job in jobs:
        run = logged_run(job.run_id)
        path = f"{'eval' if options.set == VALIDATION else options.set}/{FILE}"
        file = run.artifact(path)
        if file is None:
            raise UserError(
                f"run {run.id}: has logged no {path}, so there is nothing to draw a bootstrap "
                f"from (state {job.state}; a task without metrics logs none)"
            )
        run.require_trusted("task.metrics", frozenset(options.trust))
        outcomes.append(read(file))
        settings.append({str(name): node for name, node in run.config.task.metrics.items()})
    try:
        pairs, left_out = statistics_pairs(outcomes[0], outcomes[1], (settings[0], settings[1]))
    except DifferentExamples as error:
        ids = " and ".join(job.run_id for job in jobs)
        raise UserError(f"runs {ids}: cannot be tested example by example: {error}") from None
    for reason in left_out:
        tell(f"left out of the bootstrap: {reason}")
    if not pairs:
        return []
    found = paired_bootstrap(pairs, options.resamples, options.seed)
    for word, job in zip(("\nfirst", "second"), jobs, strict=True):
        tell(f"{word} = {job.name} ({job.run_id[:8]})")
    count = pairs[0][0].values.shape[0]
    title = f"paired bootstrap: second − first on {count} examples, {options.resamples} resamples"
    table(title, *report.difference_cells(found))
    return found


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: must be at least 1")
    return value
