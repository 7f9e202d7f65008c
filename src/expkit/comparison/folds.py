"""Scores over all folds of a configuration: each example is predicted by the run that has not trained on it.

The predictions of all folds are put together and scored as one split, and a bootstrap of the examples gives the
interval. Where there are several seeds, an example has a prediction of each.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from expkit.comparison.bootstrap import Interval, interval
from expkit.comparison.paired import statistics_of
from expkit.config.components import Metrics
from expkit.metrics.names import key_of
from expkit.metrics.outcomes import Outcomes, digest
from expkit.metrics.result import FINAL

# The outcomes of the runs of a configuration, by (seed, fold).
Parts = Mapping[tuple[str, str], Sequence[Outcomes]]


def complete(keys: Iterable[tuple[str, str]], folds: int) -> list[tuple[str, str]]:
    """Return those of the (seed, fold) whose seed has all folds."""
    found = list(keys)
    counts = Counter(seed for seed, _ in found)
    return [(seed, fold) for seed, fold in found if counts[seed] == folds]


def pooled(parts: Parts) -> list[Outcomes]:
    """Put the outcomes of all runs of one configuration together.

    Args:
        parts: each seed has the same folds.
    """
    seeds = sorted({seed for seed, _ in parts})
    folds = sorted({fold for _, fold in parts}, key=int)
    return [
        _joined([[parts[seed, fold][k] for fold in folds] for seed in seeds])
        for k in range(len(next(iter(parts.values()))))
    ]


def _joined(by_seed: Sequence[Sequence[Outcomes]]) -> Outcomes:
    """Join the outcomes of the same metrics in all folds, for each seed."""
    examples: list[int] = []
    for of_folds in by_seed:
        first = 0
        for part in of_folds:
            numbers = range(len(part.predictions)) if part.examples is None else part.examples
            examples += [first + i for i in numbers]
            first += part.count()
    runs = list(chain.from_iterable(by_seed))
    return replace(
        runs[0],
        inputs=digest(part.inputs for part in by_seed[0]),
        predictions=_chained(part.predictions for part in runs),
        references=None
        if runs[0].references is None
        else _chained(p.references or () for p in runs),
        examples=examples,
    )


def _chained(parts: Iterable[Sequence[Any]]) -> list[Any]:
    return list(chain.from_iterable(parts))


def scores_of(
    outcomes: Sequence[Outcomes],
    settings: Mapping[str, Any],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Score outcomes by their metrics, which `settings` describes, with 95 % intervals."""
    found: dict[str, Interval] = {}
    for part in outcomes:
        for name in part.metrics:
            metric = Metrics({name: settings[name]})[name]
            found |= interval([statistics_of(metric, part)], resamples, seed)
    return found


def records_of(
    name: str, metrics: Sequence[Mapping[str, float]], pooled: Mapping[str, Interval]
) -> list[dict[str, Any]]:
    """Return a record for each score of a configuration: mean and deviation over runs, and all predictions.

    Args:
        metrics: those of each run, by key.
        pooled: the scores of all predictions together.
    """
    intervals = {key_of(FINAL + score): found for score, found in pooled.items()}
    records = []
    for key in dict.fromkeys(key for of_run in metrics for key in of_run if key.startswith(FINAL)):
        values = [of_run[key] for of_run in metrics if key in of_run]
        found = intervals.get(key)
        records.append(
            {
                "metric": key.removeprefix(FINAL),
                "configuration": name,
                "mean": statistics.fmean(values),
                "sd": statistics.stdev(values) if len(values) > 1 else None,
                "pooled": found and found.score,
                "low": found and found.low,
                "high": found and found.high,
                "runs": len(values),
            }
        )
    return records
