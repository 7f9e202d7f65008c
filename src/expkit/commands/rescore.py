"""Add metrics to finished runs and sweeps from the outcomes that they keep, without models and data.

The scores, such as final/kappa and test/kappa, are those of a run that has the metric in its configuration. What a
run has already is not computed again, and after an interruption the same command goes on.
"""

import argparse
import gc
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from expkit.commands import add_trust
from expkit.commands.evaluate import score_all
from expkit.config.components import Metrics
from expkit.config.composition import composed
from expkit.config.resolved import plain
from expkit.terminal.errors import ConfigError, UserError, reason

if TYPE_CHECKING:
    from expkit.tracking.logged import LoggedRun

EXAMPLE = "kappa=expkit.metrics.scikit.Scikit function=sklearn.metrics.cohen_kappa_score"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "ids of runs, and of sweeps for all of their finished jobs, or their first characters; before --metric"
    parser.add_argument("ids", nargs="+", metavar="ID", help=about)
    about = f"name, class and settings of a metric, such as {EXAMPLE}; once for each metric"
    parser.add_argument("--metric", nargs="+", action="append", required=True, help=about)
    add_trust(parser, "the metrics of the runs")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Score the runs, and print the scores."""
    from expkit.comparison.groups import FINISHED
    from expkit.tracking.jobs import select

    nodes = _settings(options.metric, options.trust)
    list(Metrics(nodes).values())  # one that refuses its settings does it before any run is read
    jobs, named = select(options.ids).jobs, tuple(options.ids)
    ids = [j.run_id for j in jobs if j.state == FINISHED or j.run_id.startswith(named)]
    if not ids:
        raise UserError(f"{' '.join(named)}: none of the jobs has finished")
    gc.freeze()  # otherwise each garbage collection scans the libraries
    score_all(ids, partial(rescore, nodes=nodes, trusted=frozenset(options.trust)))
    return True


def _settings(given: Sequence[Sequence[str]], trusted: Sequence[str]) -> dict[str, Any]:
    """The settings of metrics by name, checked as those of the smallest run. Raises ConfigError."""
    overrides = ["~task.metrics", "objective=eval/loss", "model=tiny_bert"]
    for first, *settings in given:
        name, _, target = first.partition("=")
        if not target or not re.fullmatch(r"\w[\w-]*", name):
            raise ConfigError(
                f"--metric {first}: expected NAME=CLASS KEY=VALUE, as in {EXAMPLE}; a name holds letters, digits, _ and -"
            )
        added = (f"_target_={target}", *settings)
        overrides += [f"+task.metrics.{name}.{setting}" for setting in added]
    metrics = plain(composed([*overrides, f"trusted_modules=[{','.join(trusted)}]"]))
    return dict(metrics["task"]["metrics"])


def rescore(
    run: "LoggedRun", nodes: Mapping[str, Any], trusted: frozenset[str]
) -> dict[str, float]:
    """Log what metrics make of each set that a run was scored on, and return the scores by their keys.

    The settings of the metrics are logged last: a run that has them has all scores.

    Raises:
        UserError: the run keeps too little, or has other scores or another metric of the same name.
    """
    from mlflow.entities import Metric, RunTag

    from expkit.metrics.names import key_of
    from expkit.terminal.display import say
    from expkit.tracking.past import RESCORED

    known, logged = run.metrics(), run.run.data.metrics
    if (state := run.run.info.status) != "FINISHED" or "final/loss" not in logged:
        raise UserError(f"run {run.id}: has no final scores to add one to (state {state})")
    for name in nodes.keys() & known.keys():
        if nodes[name] != known[name]:
            raise UserError(f"run {run.id}: has task.metrics.{name}={known[name]}; rename yours")
    run.require_trusted("task.metrics", trusted)
    new = Metrics({name: node for name, node in nodes.items() if name not in known})
    say(f"{run.run.info.run_name} ({run.id}): {', '.join(new) or 'has these metrics already'}")
    scores: dict[str, float] = {}
    added: dict[str, str] = {}
    for name, sees, key, value in _scores(run, new) if new else ():
        key = key_of(key)
        before = scores.get(key, logged.get(key, value))
        if before != value and not (math.isnan(before) and math.isnan(value)):
            raise UserError(f"run {run.id}: has {key}={before}, and {name} gives {value}")
        scores[key] = value
        added[name] = json.dumps({name: {"settings": nodes[name], "sees": sees}})
    now = int(time.time() * 1000)
    made = [Metric(key, value, now, 0) for key, value in scores.items() if key not in logged]
    tags = [RunTag(key_of(f"{RESCORED}{name}"), text) for name, text in added.items()]
    run.client.log_batch(run.id, made, tags=tags)  # MLflow writes tags after metrics
    return scores


def _scores(run: "LoggedRun", new: Metrics) -> Iterator[tuple[str, str, str, float]]:
    """Yield a metric, one of the run that sees the same, the name of a score, and the score as in `Task.compute`."""
    from expkit.metrics.local import needs_of
    from expkit.metrics.outcomes import taken_by
    from expkit.metrics.result import FINAL, VALIDATION
    from expkit.tracking.logged import data_digests, evaluated

    known = run.metrics()
    for of_set in sorted({*data_digests(run.run), *evaluated(run.run)} - {"train"}, reverse=True):
        prefix = FINAL if of_set == VALIDATION else f"{of_set}/"
        if f"{prefix}loss" not in run.run.data.metrics:
            continue
        if (parts := run.outcomes(of_set)) is None:
            raise UserError(
                f"run {run.id}: keeps no outcomes of {of_set}; train it with the metric"
            )
        own = {
            part.metrics[0]: part for part in parts if part.metrics and part.references is not None
        }
        kept = {needs_of(Metrics({n: known[n]})[n]): part for n, part in own.items()}
        for name, metric in new.items():
            if (needs := needs_of(metric)) not in kept:
                raise UserError(
                    f"run {run.id}: {name} needs {needs}, but the run keeps {' and '.join(kept)}; train it with {name}"
                )
            part = kept[needs]
            given = {"predictions": part.predictions, "references": part.references}
            try:
                if of_set == VALIDATION and hasattr(metric, "require_fit"):
                    further = taken_by(metric.require_fit, part.settings)
                    metric.require_fit(part.references, **further)
                scores = metric.compute(**given, **taken_by(metric._compute, part.settings))
            except Exception as error:  # whatever a metric does with what it was not made for
                raise UserError(f"run {run.id}: {name} does not fit: {reason(error)}") from error
            for score, value in scores.items():
                yield name, part.metrics[0], f"{prefix}{score}", value
