"""How often the verdict on a sweep is right, on simulated sweeps whose best configuration is known.

python -m benchmarks.verdict --sweeps 1000

A run answers an example rightly if the sum of four random numbers is low enough: how hard the example is (the same for all
runs), what the configuration makes of it, what the run makes of it, and the quality of the run, which differs between
seeds. So the outcomes of runs are correlated as those of real runs are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, ttest_ind

from expkit.comparison.confidence_set import Scored, losses_of, p_values, without_optimism

DRAWS = 1000
OF_EXAMPLE, OF_CONFIGURATION, OF_RUN = (
    1.0,
    0.3,
    0.45,
)  # standard deviations, of what decides an answer


@dataclass(frozen=True)
class Setting:
    """A kind of sweep. `accuracies` has the true one of each configuration, the best first.

    `between_seeds` is the standard deviation of the true accuracy of a run, and `correlation` that of two configurations
    with the same seed.
    """

    name: str
    accuracies: Sequence[float]
    seeds: int = 3
    examples: int = 400
    between_seeds: float = 0.01
    correlation: float = 0.0


SETTINGS = (
    Setting("no difference", [0.8] * 8),
    Setting("differences", [0.8 - 0.012 * c for c in range(8)]),
    Setting("no difference, seeds matter more", [0.8] * 8, between_seeds=0.03),
    Setting(
        "differences, seeds matter more", [0.8 - 0.012 * c for c in range(8)], between_seeds=0.03
    ),
    Setting("no difference, one seed", [0.8] * 8, seeds=1),
    Setting("differences, one seed", [0.8 - 0.012 * c for c in range(8)], seeds=1),
    Setting(
        "differences, seeds that do the same to all",
        [0.8 - 0.012 * c for c in range(8)],
        3,
        400,
        0.03,
        0.9,
    ),
    Setting("two alike, two seeds", [0.8] * 2, seeds=2),
    Setting("two alike, eight seeds", [0.8] * 2, seeds=8),
)


@dataclass(frozen=True)
class Rates:
    """Shares of the sweeps, and means over them.

    `survivors` and `survivors_of_t` count the configurations that the verdict, and t-tests with Holm's correction, do
    not rule out. `optimism` is how much better the picked configuration looks than it is, before and after correction.
    """

    sole_winner: float
    best_in_set: float
    survivors: float
    survivors_of_t: float
    optimism: tuple[float, float]


def simulated(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """Whether each run answers each example rightly: an array (configurations, seeds, examples) of 0 and 1."""
    count, n = len(setting.accuracies), setting.examples
    true = np.asarray(setting.accuracies)[:, None]
    r, shape = setting.correlation, (count, setting.seeds)
    of_seeds = np.sqrt(r) * rng.normal(size=shape[1]) + np.sqrt(1 - r) * rng.normal(size=shape)
    quality = true + setting.between_seeds * of_seeds
    hardness = rng.normal(0, OF_EXAMPLE, n)
    of_configuration = rng.normal(0, OF_CONFIGURATION, (count, 1, n))
    of_run = rng.normal(0, OF_RUN, (count, setting.seeds, n))
    spread = np.sqrt(OF_EXAMPLE**2 + OF_CONFIGURATION**2 + OF_RUN**2)
    limit = norm.ppf(np.clip(quality, 0.01, 0.99))[:, :, None]
    return ((hardness + of_configuration + of_run) / spread < limit).astype(float)


def scored(right: np.ndarray, draws: int, rng: np.random.Generator) -> list[Scored]:
    """The losses of the runs, as the verdict computes them from outcomes."""
    count, seeds, n = right.shape
    losses = -right.reshape(count * seeds, n)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
    left_out = (weights == 0).astype(float)
    drawn = (losses @ weights.T / n).reshape(count, seeds, draws)
    rest = (losses @ left_out.T / left_out.sum(axis=1)).reshape(count, seeds, draws)
    real = losses.mean(axis=1).reshape(count, seeds)
    return [Scored(range(seeds), *of_one) for of_one in zip(real, drawn, rest, strict=True)]


def left_by_t(right: np.ndarray) -> int:
    """How many configurations Welch's t-tests over seeds against the best one leave, with Holm's correction."""
    accuracies = right.mean(axis=2)
    best = accuracies.mean(axis=1).argmax()
    others = [c for c in range(len(right)) if c != best]
    found = (ttest_ind(accuracies[best], accuracies[c], equal_var=False).pvalue for c in others)
    p = sorted(np.nan_to_num(np.fromiter(found, float), nan=1.0))
    ruled_out = next((k for k, value in enumerate(p) if value > 0.05 / (len(p) - k)), len(p))
    return len(right) - ruled_out


def rates(setting: Setting, sweeps: int, draws: int = DRAWS, seed: int = 0) -> Rates:
    """Simulate sweeps and judge them."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(sweeps):
        right = simulated(setting, rng)
        runs = scored(right, draws, rng)
        losses = losses_of(runs, rng)
        survives = p_values(losses) >= 0.05
        picked = int(losses.means.argmin())
        true = setting.accuracies[picked]
        by_t = left_by_t(right) if setting.seeds > 1 else len(right)
        optimism = -losses.means[picked] - true, -without_optimism(runs, rng) - true
        found.append([survives.sum() == 1, survives[0], survives.sum(), by_t, *optimism])
    means = np.mean(found, axis=0).tolist()
    return Rates(means[0], means[1], means[2], means[3], (means[4], means[5]))


def main() -> None:
    """Print the rates of each setting."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__)
    parser.add_argument("--sweeps", type=int, default=1000)
    sweeps = parser.parse_args().sweeps
    for setting in SETTINGS:
        r = rates(setting, sweeps)
        print(
            f"{setting.name} ({len(setting.accuracies)} configurations, {setting.seeds} seeds): sole winner "
            f"{r.sole_winner:.3f}, best in the set {r.best_in_set:.3f}, survivors {r.survivors:.2f} "
            f"(t-tests {r.survivors_of_t:.2f}), optimism {r.optimism[0]:+.4f}, corrected {r.optimism[1]:+.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
