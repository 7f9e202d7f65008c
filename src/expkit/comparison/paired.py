"""Pair the outcomes of two runs on the same examples, for a bootstrap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expkit.config.components import Metrics
from expkit.metrics.local import LocalMetric
from expkit.metrics.outcomes import Outcomes, taken_by
from expkit.metrics.statistics import Recomputed, Resampled, Statistics
from expkit.terminal.errors import UserError


class DifferentExamples(UserError):
    """Two runs were not scored on the same examples."""


def statistics_pairs(
    first: Sequence[Outcomes],
    second: Sequence[Outcomes],
    settings: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> tuple[list[tuple[Resampled, Resampled]], list[str]]:
    """Return the statistics of each metric that both runs have, and why other metrics are left out.

    Args:
        settings: `task.metrics` of both runs; the caller has checked that its targets are trusted.

    Raises:
        DifferentExamples: the runs were not scored on the same examples.
    """
    pairs, left_out = [], []
    others = {name: outcomes for outcomes in second for name in outcomes.metrics}
    for outcomes in first:
        for name in outcomes.metrics:
            if name not in others or settings[0][name] != settings[1].get(name):
                left_out.append(f"{name}: is not a metric of both runs, with the same settings")
                continue
            _require_same(outcomes, others[name])
            metric = Metrics({name: settings[0][name]})[name]
            pairs.append((statistics_of(metric, outcomes), statistics_of(metric, others[name])))
    return pairs, left_out


def _require_same(first: Outcomes, second: Outcomes) -> None:
    counts = [outcomes.count() for outcomes in (first, second)]
    if counts[0] != counts[1]:
        raise DifferentExamples(f"one was scored on {counts[0]} examples, the other on {counts[1]}")
    if first.inputs != second.inputs:
        raise DifferentExamples("what they were asked is not the same")
    if first.references != second.references:
        raise DifferentExamples("the references are not the same")


def statistics_of(metric: Any, outcomes: Outcomes) -> Resampled:
    """Return what scores sets of examples: a metric's statistics, or the metric itself if it has none."""
    examples = outcomes.examples
    if hasattr(metric, "statistics"):
        further = taken_by(metric.statistics, outcomes.settings)
        made: Statistics = metric.statistics(outcomes.predictions, outcomes.references, **further)
        return (
            made if examples is None else made.of_examples(np.asarray(examples), outcomes.count())
        )
    further = taken_by(metric._compute, outcomes.settings)
    # What is somebody else's may need the types that `compute` makes of its inputs, which takes longer.
    compute = metric._compute if isinstance(metric, LocalMetric) else metric.compute

    def score(predictions: Sequence[Any], references: Sequence[Any] | None) -> Mapping[str, float]:
        given = {"predictions": predictions, "references": references}
        scores: Mapping[str, float] = compute(
            **{name: items for name, items in given.items() if items is not None}, **further
        )
        return scores

    items = np.arange(len(outcomes.predictions)) if examples is None else np.asarray(examples)
    return Recomputed(score, outcomes.predictions, outcomes.references, items, outcomes.count())
