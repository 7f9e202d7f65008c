"""Whether two systems differ by more than the choice of examples explains.

The paired bootstrap of Koehn (2004, https://aclanthology.org/W04-3250): draw the examples anew, with
replacement, score both systems on the same draw, and do so many times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from expkit.metrics.statistics import Scores, Statistics

CELLS = 5_000_000  # of the weights that are held at a time
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Difference:
    """One metric of two systems, the second minus the first.

    `low` and `high` bound the middle 95 % of the resampled differences. `p` is that of sacreBLEU's
    paired bootstrap.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        """By how much the second score on all examples is higher than the first."""
        return self.second - self.first


def paired_bootstrap(
    pairs: Sequence[tuple[Statistics, Statistics]], resamples: int, seed: int
) -> list[Difference]:
    """Every score that both systems have; all metrics see the same draws.

    Args:
        pairs: for each metric the statistics of both systems, on the same examples.
        resamples: how many sets of examples to draw.
    """
    examples = pairs[0][0].values.shape[0]
    everything = np.ones((1, examples))
    found = []
    drawn: list[list[tuple[Scores, Scores]]] = [[] for _ in pairs]
    for weights in _draws(examples, resamples, np.random.default_rng(seed)):
        for (first, second), parts in zip(pairs, drawn, strict=True):
            parts.append((first.resampled(weights), second.resampled(weights)))
    for (first, second), parts in zip(pairs, drawn, strict=True):
        scores = first.resampled(everything), second.resampled(everything)
        for name in (name for name in scores[0] if name in scores[1]):
            real = [float(of_system[name][0]) for of_system in scores]
            differences = np.concatenate([two[name] - one[name] for one, two in parts])
            low, high = np.percentile(differences, INTERVAL)
            p = p_value(differences, real[1] - real[0])
            found.append(Difference(name, real[0], real[1], float(low), float(high), p))
    return found


def p_value(differences: np.ndarray, real: float) -> float:
    """How often chance makes a difference larger than the real one, whichever system it favours.

    As sacreBLEU and the script of Moses have it (sacrebleu/significance.py): the absolute resampled
    differences, moved by their mean to where there is none, against the absolute real one. Only for
    systems that never differ, where this would give the smallest p there is, p is 1.
    """
    sizes = np.abs(differences)
    if not sizes.any():
        return 1.0
    larger = int((sizes - sizes.mean() > abs(real)).sum())
    return (larger + 1) / (len(sizes) + 1)


def _draws(examples: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each example is drawn, (some resamples, examples)."""
    at_once = max(CELLS // examples, 1)
    chances = np.full(examples, 1 / examples)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        yield rng.multinomial(examples, chances, size=count).astype(float)
