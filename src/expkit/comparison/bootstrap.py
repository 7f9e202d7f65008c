"""Test whether two systems differ by more than the choice of examples explains.

The paired bootstrap of Koehn (2004, https://aclanthology.org/W04-3250) draws the examples anew, with
replacement, scores both systems on the same draw, and repeats this many times.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from expkit.comparison.paired import Resampled
from expkit.metrics.statistics import Scores

CELLS = 5_000_000  # numbers in memory at a time, in an array of (resamples, examples)
INTERVAL = (2.5, 97.5)  # percentiles
LEAST_DEFINED = 0.95  # of the draws: with fewer, there is no interval


@dataclass(frozen=True)
class Difference:
    """The scores of two systems by one metric, and how certain their difference is.

    `low` and `high` bound the middle 95 % of the resampled differences. `p` is computed as in sacreBLEU's
    paired bootstrap. All three are NaN if the scores are undefined in too many draws.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        """Return the second score minus the first, on all examples."""
        return self.second - self.first


@dataclass(frozen=True)
class Interval:
    """A score on all examples, and the bounds of the middle 95 % of its resampled values, if there are any."""

    score: float
    low: float | None = None
    high: float | None = None


def interval(metrics: Sequence[Resampled], resamples: int, seed: int) -> dict[str, Interval]:
    """Return the percentile interval of each score (Efron 1979, https://doi.org/10.1214/aos/1176344552).

    All metrics see the same draws.
    """
    examples, generator = len(metrics[0]), np.random.default_rng(seed)
    drawn = [[m.resampled(w) for m in metrics] for w in draws(examples, resamples, generator)]
    found = {}
    for i, metric in enumerate(metrics):
        for name, score in metric.resampled(np.ones((1, examples))).items():
            defined = _defined(np.concatenate([parts[i][name] for parts in drawn]))
            bounds = np.percentile(defined, INTERVAL).tolist() if len(defined) else ()
            found[name] = Interval(float(score[0]), *bounds)
    return found


def paired_bootstrap(
    pairs: Sequence[tuple[Resampled, Resampled]], resamples: int, seed: int
) -> list[Difference]:
    """Compare every score that both systems have; all metrics see the same draws.

    `pairs` holds for each metric the statistics of both systems on the same examples, and `resamples` is
    the number of draws.
    """
    examples = len(pairs[0][0])
    everything = np.ones((1, examples))
    found = []
    drawn: list[list[tuple[Scores, Scores]]] = [[] for _ in pairs]
    for weights in draws(examples, resamples, np.random.default_rng(seed)):
        for (first, second), parts in zip(pairs, drawn, strict=True):
            parts.append((first.resampled(weights), second.resampled(weights)))
    for (first, second), parts in zip(pairs, drawn, strict=True):
        scores = first.resampled(everything), second.resampled(everything)
        for name in (name for name in scores[0] if name in scores[1]):
            real = [float(of_system[name][0]) for of_system in scores]
            defined = _defined(np.concatenate([two[name] - one[name] for one, two in parts]))
            low = high = p = math.nan
            if len(defined):
                low, high = np.percentile(defined, INTERVAL).tolist()
                p = p_value(defined, real[1] - real[0])
            found.append(Difference(name, real[0], real[1], low, high, p))
    return found


def _defined(values: np.ndarray) -> np.ndarray:
    """The values that are numbers; none if too many draws had no score, such as a correlation of equal numbers."""
    defined = values[~np.isnan(values)]
    return defined if len(defined) >= LEAST_DEFINED * len(values) else defined[:0]


def p_value(differences: np.ndarray, real: float) -> float:
    """Return how often chance makes a difference larger than the real one, whichever system it favours.

    As in sacreBLEU (sacrebleu/significance.py), the absolute resampled differences are centred on their
    mean and compared with the absolute real one. Systems that never differ get p = 1, where that formula
    would give the smallest p possible.
    """
    sizes = np.abs(differences)
    if not sizes.any():
        return 1.0
    larger = int((sizes - sizes.mean() > abs(real)).sum())
    return (larger + 1) / (len(sizes) + 1)


def draws(examples: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield how often each example is drawn, as arrays of (some resamples, examples)."""
    at_once = max(CELLS // examples, 1)
    chances = np.full(examples, 1 / examples)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        yield rng.multinomial(examples, chances, size=count).astype(float)
