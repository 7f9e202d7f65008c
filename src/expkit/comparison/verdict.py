"""Say which of several configurations is the best, as far as examples and seeds allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expkit.comparison.bootstrap import LEAST_DEFINED, draws
from expkit.comparison.confidence_set import (
    Losses,
    Scored,
    bounds,
    critical,
    differences,
    losses_of,
    needed,
    p_values,
    without_optimism,
)
from expkit.comparison.groups import SIGNS
from expkit.comparison.paired import Recomputed, Resampled
from expkit.metrics.statistics import Statistics
from expkit.terminal.display import number
from expkit.terminal.errors import UserError

LEVEL = 0.95
RESAMPLES = 1000
SLOW_RESAMPLES = 200  # for a metric that is computed anew for each draw
MOST_NAMED = 5  # configurations, in a sentence
FEWEST = 10  # examples
FAR = 20  # times as many seeds or examples as now: nobody will get them


class NoVerdict(UserError):
    """The configurations cannot be judged."""


class Undefined(NoVerdict):
    """The score is not defined for enough configurations."""


@dataclass(frozen=True)
class Candidate:
    """A configuration: what scores its runs, one for each of its seeds, all on the same examples."""

    name: str
    seeds: Sequence[int]
    runs: Sequence[Resampled]


@dataclass(frozen=True)
class Standing:
    """What is known about a configuration.

    Attributes:
        score: the mean over its seeds; NaN if it is not defined.
        difference: the score of the best configuration less this one.
        low, high: the bounds of this difference, each pair by itself.
        p: that of the model confidence set.
        survives: whether it cannot be told from the best, with all configurations in view.
    """

    name: str
    score: float
    seeds: int
    difference: float
    low: float
    high: float
    p: float
    survives: bool


@dataclass(frozen=True)
class Verdict:
    """The standings of configurations on the same examples, the best first.

    Attributes:
        corrected: what to expect of the configuration that is picked for its score; NaN with too few examples.
        more: how many more seeds, or else examples, would tell the first two survivors; infinite if none would.
    """

    score: str
    direction: str
    examples: int
    level: float
    standings: Sequence[Standing]
    corrected: float
    more: tuple[float, float]

    @property
    def survivors(self) -> list[Standing]:
        """Return those that cannot be told from the best."""
        return [standing for standing in self.standings if standing.survives]

    def sentences(self) -> list[str]:
        """Return the verdict in words."""
        best, *others = self.survivors
        told = self._better(best) if not others else self._alike()
        parts = [told, *self._about_seeds()]
        if math.isfinite(self.corrected) and len(self.standings) > 1:
            parts.append(
                f"the best {self.score}, of {best.name}, is {number(best.score)}, and "
                f"{number(self.corrected)} without the optimism of having been picked"
            )
        return parts

    def _better(self, best: Standing) -> str:
        defined = [s for s in self.standings[1:] if not math.isnan(s.score)]
        if not defined:
            return f"{best.name} is the only one with a score"
        last = max(defined, key=lambda standing: standing.p)  # the last one to be ruled out
        if len(defined) == 1:
            return f"{best.name} is better than {last.name}: {self.difference(last)}"
        return (
            f"{best.name} is better than the other {len(defined)}: than {last.name}, the next, "
            f"{self.difference(last)}"
        )

    def _alike(self) -> str:
        names = [standing.name for standing in self.survivors]
        if len(self.standings) == 2:
            told = f"{names[0]} and {names[1]} cannot be told apart: {self.difference(self.standings[1])}"
        else:
            shown = ", ".join(names[:MOST_NAMED]) + (", …" if names[MOST_NAMED:] else "")
            told = f"these {len(names)} of {len(self.standings)} cannot be told apart: {shown}"
        seeds, examples = self.more
        ways = [
            f"{amount:,.0f} more {what}{'s' * (amount > 1)}"
            for amount, what in ((seeds, "seed"), (examples, "example"))
            if math.isfinite(amount)
        ]
        if not ways:
            return f"{told}; nothing within reach would tell the first two"
        comma = "," * (len(ways) - 1)
        return f"{told}; about {', or '.join(ways)}{comma} would tell the first two"

    def _about_seeds(self) -> list[str]:
        single = [standing.name for standing in self.standings if standing.seeds == 1]
        if len(single) == len(self.standings):
            return ["with one seed each, the variation between seeds is unknown, and not in this"]
        if single:
            return [
                f"{len(single)} of {len(self.standings)} with one seed only, for which the variation of the others stands"
            ]
        return []

    def difference(self, other: Standing) -> str:
        """Return by how much the best configuration is better than another one, with the interval."""
        interval = f"[{signed(other.low)}, {signed(other.high)}]"
        return f"{self.score} {signed(other.difference)}, {100 * self.level:.3g} % {interval}"


def signed(value: float) -> str:
    """Return a difference of scores with its sign."""
    return ("+" if value > 0 else "") + number(value)


def verdict(
    candidates: Sequence[Candidate],
    score: str,
    direction: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Verdict:
    """Judge configurations by a score of their metrics.

    Args:
        resamples: draws of the examples; at most 200 if the metric has to be computed anew for each.
        level: how sure it has to be that the best configuration is among the survivors.

    Raises:
        NoVerdict: no configuration has a score, or there are fewer than ten examples.
    """
    examples = len(candidates[0].runs[0])
    if examples < FEWEST:
        raise NoVerdict(f"{examples} examples are too few; it takes {FEWEST}")
    if any(isinstance(run, Recomputed) for each in candidates for run in each.runs):
        resamples = min(resamples, SLOW_RESAMPLES)
    sign, rng = SIGNS[direction], np.random.default_rng(seed)
    scored = _scored(candidates, score, sign, resamples, seed)
    defined = [c for c, found in enumerate(scored) if _is_defined(found)]
    runs = _in_common([scored[c] for c in defined]) if defined else []
    if not runs or not runs[0].drawn.size:
        raise Undefined(f"{score} is not defined for enough of the configurations and draws")
    losses = losses_of(runs, rng)
    p = p_values(losses)
    order = sorted(range(len(runs)), key=lambda c: (losses.means[c], -p[c]))
    alike = [c for c in order if p[c] >= 1 - level]
    standings = []
    for c in order:
        pair = differences(losses, c, [order[0]])  # as losses: how much better the best one is
        low, high = sorted(-sign * bound + 0.0 for bound in bounds(pair, level))
        mean, difference = sign * float(losses.means[c]), -sign * float(pair.real[0]) + 0.0
        known = mean, len(runs[c].real), difference, low, high, float(p[c]), c in alike
        standings.append(Standing(candidates[defined[c]].name, *known))
    for each in (each for c, each in enumerate(candidates) if c not in defined):
        nothing = math.nan, math.nan, math.nan, 0.0, False
        standings.append(Standing(each.name, math.nan, len(each.runs), *nothing))
    corrected = sign * without_optimism(runs, rng)
    more = _more(losses, alike, len(runs[order[0]].real), examples, level)
    return Verdict(score, direction, examples, level, standings, corrected, more)


def _scored(
    candidates: Sequence[Candidate], score: str, sign: int, resamples: int, seed: int
) -> list[Scored]:
    """Score all runs on all examples, on each draw, and on what each draw leaves out."""
    examples = len(candidates[0].runs[0])
    runs = [run for each in candidates for run in each.runs]

    dense = [
        run for run in runs if isinstance(run, Statistics) and isinstance(run.values, np.ndarray)
    ]
    # One product of large matrices takes a fifth of the time of many small ones.
    values = np.hstack([run.values for run in dense]) if len(dense) == len(runs) else None
    places = np.cumsum([run.values.shape[1] for run in dense])[:-1]

    def scores(weights: np.ndarray) -> np.ndarray:  # (runs, sets)
        if values is None:
            found = [run.resampled(weights) for run in runs]
        else:
            sums = np.split(weights @ values, places, axis=1)
            found = [run.scores(part) for run, part in zip(dense, sums, strict=True)]
        nothing = np.full(len(weights), np.nan)  # a run may lack the score of a label
        return sign * np.stack([of_run.get(score, nothing) for of_run in found])

    drawn, left_out = [], []
    for weights in draws(examples, resamples, np.random.default_rng(seed)):
        drawn.append(scores(weights))
        rest = (weights == 0).astype(float)
        # A draw of all examples leaves nothing out, and nothing has no score.
        left_out.append(np.where(rest.any(axis=1), scores(rest), np.nan))
    real = scores(np.ones((1, examples)))[:, 0]
    ends = np.cumsum([len(each.runs) for each in candidates])[:-1]
    parts = (np.split(part, ends) for part in (real, np.hstack(drawn), np.hstack(left_out)))
    names = [each.seeds for each in candidates]
    return [Scored(*of_one) for of_one in zip(names, *parts, strict=True)]


def _is_defined(found: Scored) -> bool:
    """Tell whether a configuration has a score, also in nearly all draws."""
    draws_of_all = np.isfinite(found.drawn).all(axis=0)
    return bool(np.isfinite(found.real).all() and draws_of_all.mean() >= LEAST_DEFINED)


def _in_common(runs: Sequence[Scored]) -> list[Scored]:
    """Keep the draws in which all configurations have a score."""
    kept = np.all([np.isfinite(run.drawn).all(axis=0) for run in runs], axis=0)
    return [replace(run, drawn=run.drawn[:, kept], left_out=run.left_out[:, kept]) for run in runs]


def _more(
    losses: Losses, alike: Sequence[int], seeds: int, examples: int, level: float
) -> tuple[float, float]:
    """Return how many more seeds, or else examples, would tell the first two survivors."""
    if len(alike) < 2:
        return math.inf, math.inf
    first, second = alike[:2]
    by_runs = float(losses.by_runs[[first, second]].sum())
    z = critical(losses, alike, level)
    of_seeds, of_examples = needed(differences(losses, first, [second]), by_runs, z)
    more_seeds = math.ceil(seeds * of_seeds) - seeds if of_seeds < FAR and seeds > 1 else math.inf
    more = examples * (of_examples - 1) if of_examples < FAR else math.inf
    if math.isfinite(more):  # two digits say as much as is known
        unit = 10 ** max(math.floor(math.log10(max(more, 1))) - 1, 0)
        more = max(math.ceil(more / unit) * unit, 1)
    return max(more_seeds, 1), more
