"""The model confidence set: its errors on simulated sweeps, and equality with the package arch."""

from dataclasses import replace

import numpy as np
import pytest
from arch.bootstrap import MCS

from benchmarks.verdict import Setting, rates, scored, simulated
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


def test_without_a_difference_there_is_hardly_ever_a_sole_winner() -> None:
    found = rates(Setting("no difference", [0.8] * 8), sweeps=40, draws=400)
    assert found.sole_winner <= 0.05
    assert found.optimism[0] > 0.008
    assert abs(found.optimism[1]) < 0.004


def test_with_differences_the_best_is_in_the_set_and_more_are_ruled_out_than_by_t_tests() -> None:
    setting = Setting("differences", [0.8 - 0.012 * c for c in range(8)])
    found = rates(setting, sweeps=40, draws=400)
    assert found.best_in_set >= 0.95
    assert found.survivors < found.survivors_of_t - 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
def test_two_configurations_with_few_seeds_that_matter_are_told_apart_in_one_of_twenty(
    seeds: int,
) -> None:
    setting = Setting("alike", [0.8, 0.8], seeds, between_seeds=0.05)
    assert rates(setting, sweeps=300, draws=1000).sole_winner <= 0.09


@pytest.mark.parametrize("seed", range(4))
def test_of_mean_losses_the_set_is_that_of_arch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = rng.normal(0.1 * np.arange(6), 1, (300, 6)) + rng.normal(0, 1, (300, 1))
    theirs = MCS(losses, size=0.05, reps=4000, block_size=1, method="R", seed=seed)
    theirs.compute()
    weights = rng.multinomial(300, np.full(300, 1 / 300), size=4000)
    drawn = weights @ losses / 300
    runs = [
        Scored([0], losses[:, [c]].mean(axis=0), drawn[:, [c]].T, drawn[:, [c]].T) for c in range(6)
    ]
    ours = p_values(losses_of(runs, rng))
    expected = theirs.pvalues.loc[range(6), "Pvalue"].to_numpy()
    assert ours == pytest.approx(expected, abs=0.02)


def _losses(seed: int = 0, **changes: object) -> Losses:
    rng = np.random.default_rng(seed)
    setting = Setting("", [0.8, 0.79, 0.75, 0.7], **changes)  # type: ignore[arg-type]
    return losses_of(scored(simulated(setting, rng), 500, rng), rng)


def test_the_order_of_the_configurations_does_not_matter() -> None:
    losses = _losses()
    order = [2, 0, 3, 1]
    shared = losses.shared[np.ix_(order, order)]
    other = {name: part[order] for name, part in vars(losses).items() if name != "uncertainty"}
    turned = replace(losses, **{**other, "shared": shared})
    assert p_values(turned).tolist() == p_values(losses)[order].tolist()


def test_equal_configurations_share_the_set_and_a_certain_difference_is_ruled_out() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 0.1, (1, 400))
    runs = [Scored([0], np.array([x]), drawn + x, drawn + x) for x in (0.0, 0.0, 0.001)]
    assert p_values(losses_of(runs, rng)).tolist() == [1, 1, 1 / 401]


def test_a_draw_of_seeds_makes_intervals_wider() -> None:
    rng = np.random.default_rng(0)
    runs = scored(simulated(Setting("", [0.8, 0.8], between_seeds=0.1), rng), 500, rng)
    alone = [Scored([0], run.real[:1], run.drawn[:1], run.left_out[:1]) for run in runs]
    low, high = bounds(differences(losses_of(runs, rng), 0, [1]), 0.95)
    low_of_one, high_of_one = bounds(differences(losses_of(alone, rng), 0, [1]), 0.95)
    assert high - low > 1.5 * (high_of_one - low_of_one)


def test_what_a_run_does_to_single_examples_is_not_counted_twice() -> None:
    rng = np.random.default_rng(0)
    setting = Setting("", [0.8] * 8, seeds=8, between_seeds=0.0)
    errors = []
    for _ in range(40):
        losses = losses_of(scored(simulated(setting, rng), 300, rng), rng)
        pair = differences(losses, 0, [1])
        errors.append([pair.real[0], pair.error[0]])
    real, error = np.array(errors).T
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt((real**2).mean()), rel=0.25)


def test_as_many_more_seeds_or_examples_as_are_needed_tell_two_apart() -> None:
    pair = differences(_losses(between_seeds=0.02), 0, [2])
    by_runs = 1e-5
    of_seeds, of_examples = needed(pair, by_runs, 1.96)
    real, examples, seeds = pair.real[0], pair.by_examples[0], pair.by_seeds[0]
    if np.isfinite(of_seeds):
        assert abs(real) == pytest.approx(1.96 * np.sqrt(examples + seeds / of_seeds))
    if np.isfinite(of_examples):
        left = (examples + by_runs) / of_examples + seeds - by_runs
        assert abs(real) == pytest.approx(1.96 * np.sqrt(left))
    assert np.isfinite([of_seeds, of_examples]).any()


def test_the_score_of_a_single_configuration_has_no_optimism() -> None:
    rng = np.random.default_rng(0)
    (run,) = scored(simulated(Setting("", [0.8]), rng), 2000, rng)
    assert without_optimism([run], rng) == pytest.approx(run.real.mean(), abs=0.002)


def test_what_a_seed_does_to_all_configurations_cancels_out() -> None:
    rng = np.random.default_rng(0)
    errors = []
    for correlation in (0.0, 0.95):
        setting = Setting("", [0.8] * 6, 5, between_seeds=0.05, correlation=correlation)
        losses = losses_of(scored(simulated(setting, rng), 500, rng), rng)
        errors.append(
            np.mean([differences(losses, i, [j]).error for i in range(6) for j in range(i)])
        )
    assert errors[1] < 0.75 * errors[0]


def test_only_seeds_that_two_configurations_share_cancel_out() -> None:
    rng = np.random.default_rng(0)
    setting = Setting("", [0.8] * 6, 5, between_seeds=0.05, correlation=0.95)
    runs = scored(simulated(setting, rng), 500, rng)
    apart = [replace(run, seeds=[f"{c} {s}" for s in range(5)]) for c, run in enumerate(runs)]
    same, other = (differences(losses_of(made, rng), 0, [1]).error[0] for made in (runs, apart))
    assert same < 0.8 * other


def test_what_tells_two_of_a_set_apart_is_more_than_what_tells_two_alone_apart() -> None:
    losses = _losses()
    alone, in_set = critical(losses, [0, 1], 0.95), critical(losses, [0, 1, 2, 3], 0.95)
    assert 1.9 < alone < in_set
    pair = differences(losses, 0, [1])
    assert critical(losses, [0, 1], 0.95) == np.quantile(np.abs(pair.drawn[0]), 0.95)
