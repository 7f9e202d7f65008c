"""Pair the outcomes of two runs on the same examples, for a bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expkit.config.components import Metrics
from expkit.metrics.local import LocalMetric
from expkit.metrics.outcomes import Outcomes, taken_by
from expkit.metrics.statistics import Scores, Statistics
from expkit.terminal.errors import UserError


@dataclass(frozen=True)
class Recomputed:
    """Scores sets of examples as `Statistics` does, by a metric that no sums over examples decide."""

    metric: Any
    outcomes: Outcomes

    def __len__(self) -> int:
        return self.outcomes.count()

    def resampled(self, weights: np.ndarray) -> Scores:
        """Return the scores of sets; NaN for a set that the metric refuses, as one may lack a label."""
        found = [self._scores(of_set.astype(int)) for of_set in weights]
        names = self._scores(np.ones(len(self), int))
        return {name: np.array([scores.get(name, np.nan) for scores in found]) for name in names}

    def _scores(self, times: np.ndarray) -> Mapping[str, float]:
        seen, metric = self.outcomes, self.metric
        if seen.examples is not None:
            times = times[np.asarray(seen.examples)]
        items = np.repeat(np.arange(len(times)), times).tolist()
        given = {"predictions": seen.predictions, "references": seen.references}
        drawn = {name: [of_all[i] for i in items] for name, of_all in given.items() if of_all}
        # What is not expkit's own may need the types that `compute` makes of its inputs; that takes longer.
        compute = metric._compute if isinstance(metric, LocalMetric) else metric.compute
        try:
            scores: Mapping[str, float] = compute(
                **drawn, **taken_by(metric._compute, seen.settings)
            )
        except (ValueError, ArithmeticError):
            return {}
        return scores


Resampled = Statistics | Recomputed


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
            require_same(outcomes, others[name])
            metric = Metrics({name: settings[0][name]})[name]
            pairs.append((statistics_of(metric, outcomes), statistics_of(metric, others[name])))
    return pairs, left_out


def require_same(first: Outcomes, second: Outcomes) -> None:
    """Raise DifferentExamples unless both are outcomes of the same examples."""
    counts = [outcomes.count() for outcomes in (first, second)]
    if counts[0] != counts[1]:
        raise DifferentExamples(f"one was scored on {counts[0]} examples, the other on {counts[1]}")
    if first.inputs != second.inputs:
        raise DifferentExamples("what they were asked is not the same")
    if first.references != second.references:
        raise DifferentExamples("the references are not the same")


def statistics_of(metric: Any, outcomes: Outcomes) -> Resampled:
    """Return what scores sets of examples: the statistics of a metric, or the metric if it has none."""
    if not hasattr(metric, "statistics"):
        return Recomputed(metric, outcomes)
    further = taken_by(metric.statistics, outcomes.settings)
    made: Statistics = metric.statistics(outcomes.predictions, outcomes.references, **further)
    if outcomes.examples is None:
        return made
    return made.of_examples(np.asarray(outcomes.examples), outcomes.count())
