"""All folds of a configuration, put together."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from expkit.comparison.folds import complete, pooled, scores_of
from expkit.metrics.outcomes import Outcomes

METRICS = {
    name: {"_target_": f"expkit.metrics.classification.{cls}"}
    for name, cls in (("accuracy", "Accuracy"), ("f1", "F1"))
}


def outcomes(
    inputs: str,
    predictions: Sequence[int],
    references: Sequence[int],
    examples: Sequence[int] | None = None,
) -> list[Outcomes]:
    settings = {"num_labels": 2}
    return [Outcomes(inputs, list(METRICS), predictions, references, examples, settings)]


def test_pooled_scores_are_those_of_all_predictions() -> None:
    drawn = np.random.default_rng(0)
    true, predicted = drawn.integers(2, size=(2, 2, 3, 40))  # of seeds, folds and examples
    true[1] = true[0]  # both seeds are asked the same
    parts = {
        (str(seed), str(fold + 1)): outcomes(
            f"fold {fold}", predicted[seed, fold].tolist(), true[seed, fold].tolist()
        )
        for seed in (0, 1)
        for fold in range(3)
    }
    (together,) = pooled(parts)
    assert together.count() == 120  # an example counts once, whatever the number of seeds
    assert [together.examples.count(i) for i in (0, 119)] == [2, 2]  # type: ignore[union-attr]
    scores = scores_of([together], METRICS)
    assert scores["f1"].score == pytest.approx(f1_score(true.ravel(), predicted.ravel()), abs=1e-12)
    right = accuracy_score(true.ravel(), predicted.ravel())
    assert scores["accuracy"].score == pytest.approx(right, abs=1e-12)
    low, high = scores["accuracy"].low, scores["accuracy"].high
    assert low is not None
    assert high is not None
    # 1.96 standard errors of a mean of 120 examples, each a mean of two predictions
    of_examples = (true == predicted).mean(axis=0).ravel()
    half = 1.96 * of_examples.std() / np.sqrt(120)
    assert (right - low, high - right) == pytest.approx((half, half), rel=0.15)


def test_items_of_one_example_stay_together_in_every_fold() -> None:
    parts = {
        ("", "1"): outcomes("a", [0, 1, 1], [0, 1, 0], [0, 0, 1]),
        ("", "2"): outcomes("b", [1, 1], [1, 1], [0, 2]),
    }
    (together,) = pooled(parts)
    assert together.examples == [0, 0, 1, 2, 4]
    assert list(together.predictions) == [0, 1, 1, 1, 1]
    other = pooled({**parts, ("", "2"): outcomes("c", [1, 1], [1, 1], [0, 2])})
    assert other[0].inputs != together.inputs


def test_the_tenth_fold_follows_the_ninth() -> None:
    parts = {("", str(k)): outcomes(str(k), [k % 2], [1]) for k in (10, 9, 1)}
    assert list(pooled(parts)[0].predictions) == [1, 1, 0]


def test_seeds_without_all_folds_are_left_out() -> None:
    assert complete([("1", "1"), ("1", "2"), ("2", "1")], 2) == [("1", "1"), ("1", "2")]
