"""Add metrics to a finished run, from its outcomes."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from mlflow.entities import Metric, RunTag

from expkit.comparison.groups import FINISHED
from expkit.config.components import Metrics
from expkit.metrics.local import needs_of
from expkit.metrics.names import key_of
from expkit.metrics.outcomes import Outcomes, taken_by
from expkit.metrics.result import FINAL, VALIDATION
from expkit.terminal.errors import UserError, reason
from expkit.terminal.secrets import redacted
from expkit.tracking.logged import LoggedRun, data_digests, evaluated
from expkit.tracking.past import RESCORED

BATCH = 1000  # metrics in one request, MLflow's own limit


def rescore(run: LoggedRun, nodes: Mapping[str, Any], trusted: frozenset[str]) -> dict[str, float]:
    """Log what metrics make of all sets that a run was scored on, and return the scores by their keys.

    Their settings are logged last: a run that has them has all scores.

    Args:
        nodes: the settings of the metrics by name, which have been checked.
        trusted: packages from which the metrics of the run itself may come.

    Raises:
        UserError: the run keeps too little, or has another metric or score of the same name.
        MlflowException: MLflow has not taken the scores.
    """
    if (state := run.run.info.status) != FINISHED:
        raise UserError(f"has no final scores (state {state})")
    known, logged = run.metrics(), run.run.data.metrics
    for name in nodes.keys() & known.keys():
        if nodes[name] != known[name]:
            raise UserError(f"has task.metrics.{name}={known[name]}; give yours another name")
    run.require_trusted("task.metrics", trusted)
    new = Metrics({n: nodes[n] for n in nodes if n not in known})
    scores: dict[str, float] = {}
    tags = []
    for prefix, parts in _sets(run) if new else ():
        for name, metric in new.items():
            part = _part(parts, known, name, metric)
            if prefix == FINAL:
                added = {name: {"settings": nodes[name], "sees": part.metrics[0]}}
                tags.append(RunTag(key_of(f"{RESCORED}{name}"), redacted(json.dumps(added))))
            for score, value in _computed(name, metric, part).items():
                key = key_of(f"{prefix}{score}")
                before = scores.get(key, logged.get(key, value))
                if before != value and not (math.isnan(before) and math.isnan(value)):
                    raise UserError(f"has {key}={before} already, and {name} gives {value}")
                scores[key] = value
    now = int(time.time() * 1000)
    made = [Metric(key, value, now, 0) for key, value in scores.items() if key not in logged]
    while len(made) > BATCH:
        run.client.log_batch(run.id, made[:BATCH])
        made = made[BATCH:]
    run.client.log_batch(run.id, made, tags=tags)
    return scores


def _sets(run: LoggedRun) -> Iterator[tuple[str, list[Outcomes]]]:
    """Yield the outcomes of each set with scores, and of its part that is not in train, under the prefix of the scores."""
    logged = run.run.data.metrics
    for name in {**data_digests(run.run), **evaluated(run.run)}:
        prefix = FINAL if name == VALIDATION else f"{name}/"
        if name == "train" or f"{prefix}loss" not in logged:
            continue
        if (parts := run.outcomes(name)) is None:
            raise UserError(
                f"keeps no outcomes of {name} (a task without metrics keeps none); train it again with the metric"
            )
        yield prefix, parts
        unseen = f"{prefix[:-1]}.unseen/"
        report = run.artifact("data/report.json")
        if report and any(key.startswith(unseen) for key in logged):
            known = json.loads(report.read_text(encoding="utf-8"))
            yield unseen, [_without(part, known[name]["in_train"]["positions"]) for part in parts]


def _without(part: Outcomes, examples: Sequence[int]) -> Outcomes:
    """The outcomes of all other examples, as in training/evaluation.py:score_of_rest."""
    owners = range(len(part.predictions)) if part.examples is None else part.examples
    rest = [i for i, example in enumerate(owners) if example not in set(examples)]
    references = part.references and [part.references[i] for i in rest]
    return replace(part, predictions=[part.predictions[i] for i in rest], references=references)


def _part(parts: Sequence[Outcomes], known: Mapping[str, Any], name: str, metric: Any) -> Outcomes:
    """The outcomes that hold what a metric needs."""
    needs = needs_of(metric)
    kept = {
        _kept_for(part.metrics[0], json.dumps(known[part.metrics[0]])): part
        for part in parts
        if part.references is not None
    }
    if needs not in kept:
        raise UserError(
            f"task.metrics.{name}: needs {needs}, and the run has kept {' and '.join(kept)}; train it again with the metric"
        )
    return kept[needs]


@cache
def _kept_for(name: str, settings: str) -> str:
    """What a metric of a run needs; that of the next run is mostly the same."""
    return needs_of(Metrics({name: json.loads(settings)})[name])


def _computed(name: str, metric: Any, part: Outcomes) -> Mapping[str, float]:
    """The scores of a set as `Task.compute` makes them."""
    try:
        if hasattr(metric, "require_fit"):
            metric.require_fit(part.references, **taken_by(metric.require_fit, part.settings))
        further = taken_by(metric._compute, part.settings)
        return metric.compute(predictions=part.predictions, references=part.references, **further)
    except UserError:
        raise
    except Exception as error:  # whatever a metric does with what it was not made for
        raise UserError(f"task.metrics.{name}: {reason(error)}") from error
