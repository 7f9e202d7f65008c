"""Add metrics to finished runs and sweeps from the outcomes that they keep, without models and data.

The scores, such as final/kappa and test/kappa, are those of a run that has the metric in its configuration. What a
run has already is not computed again, and after an interruption the same command goes on.
"""

import argparse
import gc
import json
import math
import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from expkit.commands import add_trust
from expkit.commands.evaluate import score_all
from expkit.config.components import Metrics
from expkit.config.composition import composed
from expkit.config.resolved import plain
from expkit.terminal.errors import ConfigError, UserError, reason

if TYPE_CHECKING:
    from expkit.metrics.outcomes import Outcomes
    from expkit.tracking.logged import LoggedRun

EXAMPLE = "kappa=expkit.metrics.scikit.Scikit function=sklearn.metrics.cohen_kappa_score"
BATCH = 1000  # metrics in one request, MLflow's own limit


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "ids of runs, and of sweeps for all of their finished jobs, or their first characters"
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
        if not target or "." in name:
            raise ConfigError(f"--metric {first}: expected NAME=CLASS KEY=VALUE, as in {EXAMPLE}")
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
    from expkit.metrics.result import FINAL, VALIDATION
    from expkit.terminal.display import say
    from expkit.tracking.logged import data_digests, evaluated
    from expkit.tracking.past import RESCORED

    shown, known, logged = f"run {run.id}", run.metrics(), run.run.data.metrics
    if (state := run.run.info.status) != "FINISHED" or f"{FINAL}loss" not in logged:
        raise UserError(f"{shown}: has no final scores to which one could be added (state {state})")
    for name in nodes.keys() & known.keys():
        if nodes[name] != known[name]:
            raise UserError(f"{shown}: has task.metrics.{name}={known[name]}; choose another name")
    run.require_trusted("task.metrics", trusted)
    new = Metrics({name: node for name, node in nodes.items() if name not in known})
    say(f"{shown} ({run.run.info.run_name}): {', '.join(new) or 'has these metrics already'}")
    scores: dict[str, float] = {}
    sees: dict[str, str] = {}
    for of_set in {**data_digests(run.run), **evaluated(run.run)}:
        if of_set == "train" or not new:
            continue
        prefix = FINAL if of_set == VALIDATION else f"{of_set}/"
        parts = run.outcomes(of_set) if f"{prefix}loss" in logged else ()
        if parts is None:
            raise UserError(f"{shown}: keeps no outcomes of {of_set}; train it with the metric")
        for name, metric in new.items() if parts else ():
            sees[name], found = _computed(shown, known, parts, name, metric)
            for score, value in found.items():
                key = key_of(f"{prefix}{score}")
                before = scores.get(key, logged.get(key, value))
                if before != value and not (math.isnan(before) and math.isnan(value)):
                    raise UserError(f"{shown}: has {key}={before}, and {name} gives {value}")
                scores[key] = value
    now = int(time.time() * 1000)
    made = [Metric(key, value, now, 0) for key, value in scores.items() if key not in logged]
    added = {n: json.dumps({n: {"settings": nodes[n], "sees": sees[n]}}) for n in new}
    tags = [RunTag(key_of(f"{RESCORED}{name}"), text) for name, text in added.items()]
    for first in range(0, len(made), BATCH):
        run.client.log_batch(run.id, made[first : first + BATCH])
    run.client.log_batch(run.id, tags=tags)
    return scores


def _computed(
    shown: str, known: Mapping[str, Any], parts: "Sequence[Outcomes]", name: str, metric: Any
) -> tuple[str, Mapping[str, float]]:
    """A metric of the run that sees what this one needs, and the scores of a set as `Task.compute` makes them."""
    from expkit.metrics.local import needs_of
    from expkit.metrics.outcomes import taken_by

    own = [part for part in parts if part.metrics and part.references is not None]
    kept = {_needs(json.dumps(known[part.metrics[0]])): part for part in own}
    if (needs := needs_of(metric)) not in kept:
        had = " and ".join(kept) or "nothing"
        raise UserError(f"{shown}: {name} needs {needs}, but has kept {had}; train with {name}")
    part = kept[needs]
    try:
        if hasattr(metric, "require_fit"):
            metric.require_fit(part.references, **taken_by(metric.require_fit, part.settings))
        further = taken_by(metric._compute, part.settings)
        given = {"predictions": part.predictions, "references": part.references}
        return part.metrics[0], metric.compute(**given, **further)
    except Exception as error:  # whatever a metric does with what it was not made for
        raise UserError(f"{shown}: {name} does not fit: {reason(error)}") from error


@cache
def _needs(settings: str) -> str:
    """What a metric of a run needs; it is the same in most runs."""
    from expkit.metrics.local import needs_of

    return needs_of(Metrics({"": json.loads(settings)})[""])
