"""The verdict in words, and what it is made of."""

import math

import numpy as np
import pytest

from expkit.comparison.paired import Recomputed
from expkit.comparison.verdict import Candidate, NoVerdict, verdict
from expkit.metrics.classification import Accuracy
from expkit.metrics.outcomes import Outcomes
from expkit.metrics.statistics import Statistics, mean

RIGHT = np.random.default_rng(0).random(2000)  # how easy each example is


def run(share: float, *, seed: int = 0) -> Statistics:
    """Answers this share of the examples rightly, the easy ones more often."""
    noise = np.random.default_rng(seed).normal(0, 0.1, len(RIGHT))
    return mean("accuracy", (RIGHT + noise < np.quantile(RIGHT + noise, share)).astype(float))


def candidate(name: str, *shares: float) -> Candidate:
    return Candidate(
        name, range(len(shares)), [run(share, seed=seed) for seed, share in enumerate(shares)]
    )


def test_the_better_of_two_is_named_with_the_interval_of_the_difference() -> None:
    found = verdict(
        [candidate("sgd", 0.7, 0.71, 0.69), candidate("adamw", 0.8, 0.81, 0.8)],
        "accuracy",
        "maximize",
    )
    assert [standing.name for standing in found.survivors] == ["adamw"]
    told, *_ = found.sentences()
    assert told.startswith("adamw is better than sgd: accuracy +0.1033, 95 % [+0.0")
    loser = found.standings[1]
    assert 0 < loser.low < loser.difference < loser.high
    assert loser.difference == pytest.approx(0.31 / 3)


def test_less_can_be_better() -> None:
    found = verdict([candidate("a", 0.7, 0.7), candidate("b", 0.8, 0.8)], "accuracy", "minimize")
    assert found.sentences()[0].startswith("a is better than b: accuracy -0.1000, 95 % [-0.1")


def test_the_one_that_was_ruled_out_last_stands_for_the_others() -> None:
    found = verdict(
        [candidate(name, share, share) for name, share in (("a", 0.5), ("b", 0.9), ("c", 0.7))],
        "accuracy",
        "maximize",
    )
    assert found.sentences()[0].startswith("b is better than the other 2: than c, the next, ")


def test_those_that_cannot_be_told_apart_are_listed_with_what_would_tell_them() -> None:
    found = verdict(
        [candidate("a", 0.80, 0.82), candidate("b", 0.79, 0.81), candidate("c", 0.5, 0.51)],
        "accuracy",
        "maximize",
    )
    first = found.sentences()[0]
    assert first.startswith("these 2 of 3 cannot be told apart: a, b; about ")
    assert first.endswith(" would tell the first two")
    seeds, _ = found.more
    assert seeds > 1


def test_equal_ones_cannot_be_told_apart() -> None:
    found = verdict([candidate("a", 0.8), candidate("b", 0.8)], "accuracy", "maximize")
    assert found.sentences()[0] == (
        "a and b cannot be told apart: accuracy 0.0000, 95 % [0.0000, 0.0000]; nothing within reach "
        "would tell the first two"
    )


def test_one_seed_says_that_seeds_are_unknown() -> None:
    one = verdict([candidate("a", 0.8), candidate("b", 0.7)], "accuracy", "maximize")
    assert "with one seed each, the variation between seeds is unknown" in one.sentences()[1]
    some = verdict([candidate("a", 0.8), candidate("b", 0.7, 0.71)], "accuracy", "maximize")
    assert "1 of 2 with one seed only" in some.sentences()[1]
    one_loser, some_loser = one.standings[1], some.standings[1]
    assert some_loser.high - some_loser.low > one_loser.high - one_loser.low


def test_the_picked_score_is_given_without_its_optimism() -> None:
    alike = [candidate(f"c{k}", *np.random.default_rng(k).normal(0.8, 0.02, 3)) for k in range(10)]
    found = verdict(alike, "accuracy", "maximize")
    assert 0.75 < found.corrected < found.standings[0].score - 0.005
    assert f"{found.corrected:.4f} without the optimism" in found.sentences()[-1]


def test_a_score_that_is_not_defined_is_ruled_out_and_does_not_hinder_the_others() -> None:
    nothing = Statistics(np.ones((len(RIGHT), 1)), lambda sums: {"accuracy": sums[:, 0] * np.nan})
    found = verdict(
        [Candidate("none", [0], [nothing]), candidate("a", 0.8), candidate("b", 0.7)],
        "accuracy",
        "maximize",
    )
    assert [standing.name for standing in found.standings] == ["a", "b", "none"]
    assert math.isnan(found.standings[2].score)
    assert not found.standings[2].survives
    assert found.sentences()[0].startswith("a is better than b")
    with pytest.raises(NoVerdict, match="not defined for enough"):
        verdict([Candidate("none", [0], [nothing])], "accuracy", "maximize")


def test_a_metric_that_is_no_function_of_sums_is_recomputed() -> None:
    true = [0, 1] * 50
    right = Outcomes("x", ["accuracy"], true, true)
    wrong = Outcomes("x", ["accuracy"], [0] * 100, true)
    found = verdict(
        [
            Candidate(name, [0], [Recomputed(Accuracy(), of)])
            for name, of in (("a", right), ("b", wrong))
        ],
        "accuracy",
        "maximize",
    )
    assert found.sentences()[0].startswith("a is better than b: accuracy +0.5000")


def test_the_same_draws_give_the_same_verdict() -> None:
    made = [candidate("a", 0.8, 0.81), candidate("b", 0.79, 0.8)]
    first, again = (verdict(made, "accuracy", "maximize") for _ in range(2))
    assert first == again
    other = verdict(made[::-1], "accuracy", "maximize")
    assert [s.survives for s in other.standings] == [s.survives for s in first.standings]
