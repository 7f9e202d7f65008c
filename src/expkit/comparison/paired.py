"""Pair the outcomes of two runs on the same examples, for a bootstrap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expkit.config.components import Metrics
from expkit.metrics.outcomes import Outcomes, taken_by
from expkit.metrics.statistics import Statistics
from expkit.terminal.errors import UserError


class DifferentExamples(UserError):
    """Two runs were not scored on the same examples."""


def statistics_pairs(
    first: Sequence[Outcomes],
    second: Sequence[Outcomes],
    settings: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> tuple[list[tuple[Statistics, Statistics]], list[str]]:
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
            if hasattr(metric, "statistics"):
                made = [statistics_of(metric, of_run) for of_run in (outcomes, others[name])]
                pairs.append((made[0], made[1]))
            else:
                left_out.append(f"{name}: {type(metric).__name__} has no method `statistics`")
    return pairs, left_out


def _require_same(first: Outcomes, second: Outcomes) -> None:
    counts = [outcomes.count() for outcomes in (first, second)]
    if counts[0] != counts[1]:
        raise DifferentExamples(f"one was scored on {counts[0]} examples, the other on {counts[1]}")
    if first.inputs != second.inputs:
        raise DifferentExamples("what they were asked is not the same")
    if first.references != second.references:
        raise DifferentExamples("the references are not the same")


def statistics_of(metric: Any, outcomes: Outcomes) -> Statistics:
    """Return the statistics of each example by a metric that has a method `statistics`."""
    further = taken_by(metric.statistics, outcomes.settings)
    made: Statistics = metric.statistics(outcomes.predictions, outcomes.references, **further)
    if outcomes.examples is None:
        return made
    return made.of_examples(np.asarray(outcomes.examples), outcomes.count())
