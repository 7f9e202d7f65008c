"""Add metrics to finished runs and sweeps from what they keep, without their models and their data.

The scores, such as final/kappa and test/kappa, are those that a run with the metric in its configuration logs. What a
run has already stays as it is, and the same command goes on after an interruption.
"""

import argparse
import gc

from expkit.commands import add_trust
from expkit.terminal.errors import ConfigError, UserError, reason

EXAMPLE = "kappa=expkit.metrics.scikit.Scikit function=sklearn.metrics.cohen_kappa_score"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "ids of runs, or of sweeps, all of whose finished jobs are scored; or their first characters"
    parser.add_argument("ids", nargs="+", metavar="ID", help=about)
    about = f"its name and class, and its settings, such as {EXAMPLE}; once for each metric"
    form = {"metavar": ("NAME=CLASS", "KEY=VALUE"), "dest": "metrics", "required": True}
    parser.add_argument("--metric", nargs="+", action="append", help=about, **form)
    add_trust(parser, "the metrics")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Score all runs, print the scores, and name the runs that could not be scored."""
    from mlflow.exceptions import MlflowException

    from expkit.comparison.groups import FINISHED
    from expkit.config.components import Metrics
    from expkit.config.composition import composed_metrics
    from expkit.terminal.display import number, say
    from expkit.terminal.quiet import hush
    from expkit.tracking.jobs import select
    from expkit.tracking.logged import logged_run
    from expkit.tracking.rescored import rescore
    from expkit.tracking.store import connect

    overrides = []
    for first, *settings in options.metrics:
        name, _, target = first.partition("=")
        if not name or not target or "." in name:
            raise ConfigError(f"--metric {first}: expected NAME=CLASS KEY=VALUE ..., as {EXAMPLE}")
        given = [f"_target_={target}", *settings]
        overrides += [f"+task.metrics.{name}.{setting}" for setting in given]
    trusted = frozenset(options.trust)
    nodes = composed_metrics(overrides, trusted)
    hush()
    gc.freeze()  # otherwise each garbage collection scans the libraries
    client = connect(None)
    list(
        Metrics(nodes).values()
    )  # those that refuse their settings do so before any run is looked at
    failures, done = [], 0
    for job in select(options.ids).jobs:
        if job.state != FINISHED and not job.run_id.startswith(tuple(options.ids)):
            continue  # a job of a sweep
        try:
            scores = rescore(logged_run(job.run_id, client), nodes, trusted)
        except UserError as error:
            failures.append(f"run {job.name} ({job.run_id}): {error}")
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run {job.run_id}: is not scored, because of {reason(error)}; what was scored before is kept, and "
                "the same command goes on"
            ) from error
        else:
            done += 1
            shown = [f"{key} {number(value)}" for key, value in scores.items()]
            say(f"run {job.name} ({job.run_id}): {'  '.join(shown or ['has them already'])}")
    if failures or not done:
        raise UserError("\n".join(failures) or "none of the jobs has finished")
    return True
