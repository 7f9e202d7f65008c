"""Metrics of numbers are those of SciPy and scikit-learn, on all examples and on draws of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn

from expkit.comparison.paired import statistics_of
from expkit.metrics.outcomes import Outcomes
from expkit.metrics.regression import R2, MeanAbsoluteError, MeanSquaredError, Pearson, Spearman

REFERENCES: dict[str, tuple[Any, Any]] = {
    "pearson": (Pearson, lambda true, made: stats.pearsonr(made, true).statistic),
    "spearman": (Spearman, lambda true, made: stats.spearmanr(made, true).statistic),
    "mse": (MeanSquaredError, sklearn.mean_squared_error),
    "mae": (MeanAbsoluteError, sklearn.mean_absolute_error),
    "r2": (R2, sklearn.r2_score),
}


@pytest.mark.parametrize("name", REFERENCES)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 3.0, -1e6]))
@settings(max_examples=25, deadline=None)
def test_scores_with_ties_are_those_of_the_references(name: str, seed: int, shift: float) -> None:
    """Also of sets that are drawn out of them, and far from 0."""
    made_by, reference = REFERENCES[name]
    rng = np.random.default_rng(seed)
    true, predicted = np.round(rng.normal(size=(2, 30)), 1) + shift
    metric = made_by()
    given = {"predictions": predicted.tolist(), "references": true.tolist()}
    tolerance = 1e-12 if not shift else 1e-9  # of numbers that are rounded at 1e6
    expected = pytest.approx(reference(true, predicted), rel=tolerance, abs=tolerance)
    assert metric.compute(**given)[name] == expected
    seen = statistics_of(metric, Outcomes("", [name], **given))
    draws = [rng.integers(30, size=30) for _ in range(3)]
    found = seen.resampled(np.stack([np.bincount(d, minlength=30) for d in draws]).astype(float))
    wanted = [reference(true[draw], predicted[draw]) for draw in draws]
    assert found[name] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("equal", [0.0, 0.1, 1e6 + 0.1, -3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_what_is_not_defined_is_nan_and_never_0(equal: float, count: int) -> None:
    same, numbers = [equal] * count, [float(i) for i in range(count)]
    for metric in (Pearson(), Spearman()):
        for predicted, true in ((same, numbers), (numbers, same), (same, same)):
            (score,) = metric.compute(predictions=predicted, references=true).values()
            assert np.isnan(score)
    assert np.isnan(R2().compute(predictions=numbers, references=same)["r2"])
    assert count == 1 or R2().compute(predictions=same, references=numbers)["r2"] <= 0
    assert MeanAbsoluteError().compute(predictions=same, references=same)["mae"] == 0


def test_a_draw_of_equal_numbers_has_no_correlation() -> None:
    """Whatever rounding leaves of their variation."""
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 200)).tolist()
    times = rng.integers(2, 50, size=200)
    for metric in (Pearson(), R2()):
        (scores,) = metric.statistics(predicted, true).resampled(np.diag(times)).values()
        assert np.isnan(scores).all()
