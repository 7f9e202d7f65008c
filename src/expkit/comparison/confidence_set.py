"""Which configurations cannot be told from the best, when examples and seeds are both drawn by chance.

A configuration c with S seeds has the loss L_c: the mean over its seeds of a score on the same n examples, with a sign
that makes less better. Two sources of error are drawn independently:

- The examples, by the paired bootstrap: all configurations are scored on the same draws, so what an example does to all
  of them cancels out. Draw b changes L_c by E_cb.
- The seeds, by U_cb, a normal number with the variance v_c / S, where v_c is the variance between seeds. Three seeds are
  too few to be drawn with replacement: the variance of such draws is a third too small, and a ninth of them hold a single
  seed. What a seed does to all configurations, as it shuffles the same data, cancels out too: the draws of two
  configurations have the correlation r for each seed that both have.

What a run does to single examples, I_c, is in both sources. The draws of the examples are therefore made smaller by it;
the pigeonhole bootstrap would count it twice (Owen 2007, https://doi.org/10.1214/07-AOAS122).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray

# Degrees of freedom that what is assumed counts for beside what is found: the mean variance of all configurations for
# the variance of one, and 0 for the correlation.
PRIOR_FREEDOM = 4
ALMOST_ZERO = 1e-12


@dataclass(frozen=True)
class Scored:
    """The losses of the S seeds of a configuration, with the same B draws of examples for all configurations.

    Attributes:
        seeds: the names of the seeds (S,), which are the same for what is shuffled and initialised in the same way.
        real: (S,), on all examples.
        drawn: (S, B), on each draw.
        left_out: (S, B), on the examples that a draw does not hold.
    """

    seeds: Sequence[Any]
    real: Array
    drawn: Array
    left_out: Array


@dataclass(frozen=True)
class Losses:
    """The losses of C configurations, and how they change in B draws.

    Attributes:
        means: (C,), L_c.
        examples: (C, B), E_cb.
        seeds: (C, B), U_cb.
        between: (C,), v_c.
        shared: (C, C), the covariance of two means over seeds, over the standard deviations of single runs.
        by_runs: (C,), I_c, the part of the variance of E_c that a run alone causes.
        uncertainty: (B,), what each draw multiplies v_c by, as v_c itself is only estimated.
    """

    means: Array
    examples: Array
    seeds: Array
    between: Array
    shared: Array
    by_runs: Array
    uncertainty: Array


def losses_of(runs: Sequence[Scored], rng: np.random.Generator) -> Losses:
    """Separate what examples and what seeds do to each configuration.

    An estimate of a variance with f degrees of freedom is distributed as chi-squared(f) / f. The draws repeat that
    estimate, so that the statistics below have the heavy tails of Student's t where seeds are few.
    """
    count = np.array([len(run.real) for run in runs])
    names = list(dict.fromkeys(name for run in runs for name in run.seeds))
    share = np.array([[(name in run.seeds) / len(run.seeds) for name in names] for run in runs])
    examples = np.stack([(run.drawn - run.real[:, None]).mean(axis=0) for run in runs])
    between, single, freedom = _seed_variances(runs, count)
    r = _correlation(runs)
    draws = examples.shape[1]
    of_all = share @ rng.standard_normal((len(names), draws)) * np.sqrt(r)
    of_each = rng.standard_normal(examples.shape) * np.sqrt((1 - r) / count)[:, None]
    common = share @ share.T
    return Losses(
        means=np.array([run.real.mean() for run in runs]),
        examples=examples,
        seeds=(of_all + of_each) * np.sqrt(between)[:, None],
        between=between,
        shared=r * common + (1 - r) * np.diag(common.diagonal()),
        by_runs=single / count,
        uncertainty=np.asarray(rng.chisquare(freedom, draws)) / freedom
        if freedom
        else np.ones(draws),
    )


def _seed_variances(runs: Sequence[Scored], count: Array) -> tuple[Array, Array, int]:
    """Return the variance between seeds (C,), its part by single examples (C,), and the degrees of freedom.

    Seeds that happen to agree do not prove that seeds do nothing, so a variance below the mean of all configurations is
    moderated: the mean counts for four more degrees of freedom (Smyth 2004, https://doi.org/10.2202/1544-6115.1027). A
    configuration with one seed has the mean. If all have one seed, nothing is known, and the variance is 0.
    """
    freedom = int((count - 1).sum())
    own, single = np.zeros((2, len(runs)))
    if not freedom:
        return own, single, 0
    for c, run in enumerate(runs):
        if count[c] > 1:
            own[c] = run.real.var(ddof=1)
            single[c] = (run.drawn - run.real[:, None]).var(axis=0, ddof=1).mean()
    mean_own, mean_single = ((count - 1) @ part / freedom for part in (own, single))
    moderated = ((count - 1) * own + PRIOR_FREEDOM * mean_own) / (count - 1 + PRIOR_FREEDOM)
    single[count == 1] = mean_single
    return np.maximum(own, moderated), single, freedom


def _correlation(runs: Sequence[Scored]) -> float:
    """Return the correlation r of two configurations over the seeds that both have, pooled over all pairs.

    It is made smaller, the fewer seeds and configurations it comes from, and a negative one counts as 0: two seeds of two
    configurations always have a correlation of 1 or -1.
    """
    products = squares = 0.0
    freedom = 0
    for i, first in enumerate(runs):
        for second in runs[:i]:
            names = [name for name in first.seeds if name in second.seeds]
            if len(names) < 2:
                continue
            x, y = (
                of.real[[list(of.seeds).index(name) for name in names]] for of in (first, second)
            )
            products += float((x - x.mean()) @ (y - y.mean()))
            squares += float(np.linalg.norm(x - x.mean()) * np.linalg.norm(y - y.mean()))
            freedom = max(freedom, (len(names) - 1) * (len(runs) - 1))
    if not squares:
        return 0.0
    return max(products / squares, 0.0) * (freedom - 1) / (freedom + PRIOR_FREEDOM)


@dataclass(frozen=True)
class Differences:
    """L_i - L_j of one configuration i and m others.

    Attributes:
        real: (m,).
        by_examples: (m,), the variance that draws of the examples cause, without I_i and I_j.
        by_seeds: (m,), the variance that draws of the seeds cause.
        changes: (m, B), the differences in the draws less the real one.
        uncertainty: (B,), see `Losses`.
    """

    real: Array
    by_examples: Array
    by_seeds: Array
    changes: Array
    uncertainty: Array

    @property
    def drawn(self) -> Array:
        """Return the changes over the standard errors that the draws would have estimated (m, B)."""
        by_seeds = self.by_seeds[:, None] * self.uncertainty
        return _ratio(self.changes, np.sqrt(self.by_examples[:, None] + by_seeds))

    @property
    def error(self) -> Array:
        """Return the standard error (m,)."""
        return np.sqrt(self.by_examples + self.by_seeds)

    @property
    def t(self) -> Array:
        """Return the real differences over their standard errors (m,)."""
        return _ratio(self.real, self.error)


def differences(losses: Losses, i: int, others: Sequence[int] | Array) -> Differences:
    """Return the differences between a configuration and others."""
    others = np.asarray(others)
    examples = losses.examples[i] - losses.examples[others]
    seeds = losses.seeds[i] - losses.seeds[others]
    both = (examples**2).mean(axis=1)
    by_examples = np.maximum(both - losses.by_runs[i] - losses.by_runs[others], 0)
    examples *= np.sqrt(by_examples / np.where(both > 0, both, 1))[:, None]
    own, other = losses.between[i], losses.between[others]
    by_seeds = own * losses.shared[i, i] + other * losses.shared[others, others]
    by_seeds = by_seeds - 2 * np.sqrt(own * other) * losses.shared[i, others]
    by_seeds = np.where(others == i, 0.0, np.maximum(by_seeds, 0))
    real = losses.means[i] - losses.means[others]
    return Differences(real, by_examples, by_seeds, examples + seeds, losses.uncertainty)


def _ratio(difference: Array, error: Array) -> Array:
    """Return difference / error; of a difference that is certain, 0 or infinity with its sign."""
    certain = np.where(np.abs(difference) > ALMOST_ZERO, np.copysign(np.inf, difference), 0.0)
    return np.where(
        error > ALMOST_ZERO, difference / np.where(error > ALMOST_ZERO, error, 1), certain
    )


def p_values(losses: Losses) -> Array:
    """Return the p-value of each configuration (C,): the model confidence set at level 1 - a holds those of a or more.

    Hansen, Lunde and Nason (2011), The Model Confidence Set, https://doi.org/10.3982/ECTA5771, with the statistic T_R:
    while several configurations are left, T is the largest t of a difference between two of them, and the worse one of
    these two leaves. Its p-value is the share of the draws in which the largest |t| between those that were left is T or
    more, counting the real one among the draws (Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585), so that
    a few draws prove nothing. It is at least that of those who left before.
    """
    count = len(losses.means)
    t = np.stack([differences(losses, i, range(count)).t for i in range(count)])
    left, leaving = list(range(count)), []
    while len(left) > 1:
        worst = t[np.ix_(left, left)].max(axis=1).argmax()
        leaving.append(left.pop(int(worst)))
    found = np.ones(count)
    largest = np.zeros(losses.examples.shape[1])  # of each draw, among those that are left
    # The order does not depend on the draws, so each pair is drawn once, from the last that leave to the first.
    for i in reversed(leaving):
        pairs = differences(losses, i, left)
        largest = np.maximum(largest, np.abs(pairs.drawn).max(axis=0))
        found[i] = (1 + (largest >= pairs.t.max()).sum()) / (1 + len(largest))
        left.append(i)
    found[leaving] = np.maximum.accumulate(found[leaving])
    return found


def bounds(pair: Differences, level: float) -> tuple[float, float]:
    """Return the bounds of a difference: the symmetric bootstrap-t interval.

    Hall (1988), https://doi.org/10.1111/j.2517-6161.1988.tb01707.x.
    """
    reach = float(np.quantile(np.abs(pair.drawn[0]), level) * pair.error[0])
    return float(pair.real[0]) - reach, float(pair.real[0]) + reach


def critical(losses: Losses, among: Sequence[int], level: float) -> float:
    """Return the `level` quantile of the largest |t| between two of some configurations, over the draws."""
    largest = [np.abs(differences(losses, i, among[:k]).drawn) for k, i in enumerate(among) if k]
    return float(np.quantile(np.max([t.max(axis=0) for t in largest], axis=0), level))


def needed(pair: Differences, by_runs: float, z: float) -> tuple[float, float]:
    """Return by what factor there must be more seeds, or else more examples, for a difference of z standard errors.

    A factor is infinite where the other source of error alone is too large. The variance of the difference is
    A / n + (V + I) / S for S seeds and n examples, where I, the part of single examples in `by_runs`, is over n too.
    """
    allowed = float(pair.real[0] / z) ** 2 if z else 0.0
    examples, seeds = float(pair.by_examples[0]), float(pair.by_seeds[0])
    single = min(by_runs, seeds)
    factors = []
    for grows, stays in ((seeds, examples), (examples + single, seeds - single)):
        factors.append(grows / (allowed - stays) if allowed > stays else np.inf)
    return factors[0], factors[1]


def without_optimism(runs: Sequence[Scored], rng: np.random.Generator) -> float:
    """Return the loss to expect of the configuration that is picked because its loss is the least.

    BBC (Tsamardinos, Greasidou and Borboudakis 2018, https://doi.org/10.1007/s10994-018-5714-4): each draw picks the
    configuration with the least loss on the examples that are drawn, and scores it on those that are not. Of several
    seeds, one is left out when a configuration is picked, and it alone scores. It is the same for all that have it.
    """
    draws = np.arange(runs[0].drawn.shape[1])
    names = list(dict.fromkeys(name for run in runs for name in run.seeds))
    of_all = rng.integers(len(names), size=len(draws))
    picked_by, scored_by = [], []
    for run in runs:
        seeds = len(run.real)
        place = [list(run.seeds).index(name) if name in run.seeds else -1 for name in names]
        held_out = np.array(place)[of_all]
        held_out = np.where(held_out < 0, rng.integers(seeds, size=len(draws)), held_out)
        own = run.drawn[held_out, draws]
        picked_by.append(own if seeds == 1 else (run.drawn.sum(axis=0) - own) / (seeds - 1))
        scored_by.append(run.left_out[held_out, draws])
    picked = np.argmin(picked_by, axis=0)
    scores = np.stack(scored_by)[picked, draws]
    return float(scores[np.isfinite(scores)].mean()) if np.isfinite(scores).any() else float("nan")
