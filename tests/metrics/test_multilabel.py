"""Metrics of several labels give what scikit-learn gives."""

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from expkit.metrics.multilabel import MeanAveragePrecision, MultiLabel

Arrays = tuple[np.ndarray, np.ndarray]


def drawn(case: str, seed: int) -> Arrays:
    """Probabilities with ties and true labels, both (examples, 5)."""
    rng = np.random.default_rng(seed)
    probabilities, true = rng.integers(0, 8, (40, 5)) / 7, rng.integers(0, 2, (40, 5))
    match case:
        case "absent":  # neither true nor predicted, and true but not predicted
            probabilities[:, [1, 2]], true[:, 1] = 0.25, 0
        case "one class":
            probabilities, true = probabilities[:, :1], np.ones((40, 1), dtype=int)
        case "one example":
            probabilities, true = probabilities[:1], true[:1]
        case "never right":
            true = 1 - (probabilities >= 0.5)
    return probabilities, true


CASES = ["random", "absent", "one class", "one example", "never right"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_decisions_score_as_in_scikit_learn(case: str, seed: int) -> None:
    probabilities, true = drawn(case, seed)
    predicted, names = (probabilities >= 0.5).astype(int), list("abcde")[: true.shape[1]]
    given = {"predictions": predicted.tolist(), "references": true.tolist(), "label_names": names}
    scores = MultiLabel().compute(**given)
    expected = {
        f"f1_{average}": f1_score(true, predicted, average=average, zero_division=np.nan)
        for average in ("micro", "macro")
    }
    if true.shape[1] == 1:  # scikit-learn takes a single column for classes, not for labels
        expected = dict.fromkeys(expected, f1_score(true, predicted))
    each = [f1_score(true[:, i], predicted[:, i], zero_division=np.nan) for i in range(len(names))]
    expected |= {f"f1_{name}": value for name, value in zip(names, each, strict=True)}
    expected["subset_accuracy"] = accuracy_score(true, predicted)
    assert scores == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_probabilities_score_as_in_scikit_learn(case: str, seed: int) -> None:
    probabilities, true = drawn(case, seed)
    given = {"predictions": probabilities.tolist(), "references": true.tolist()}
    occurs = [i for i in range(true.shape[1]) if true[:, i].any()]
    each = [average_precision_score(true[:, i], probabilities[:, i]) for i in occurs]
    with warnings.catch_warnings(action="error"):
        assert MeanAveragePrecision().compute(**given) == pytest.approx(
            {"map": np.mean(each)}, rel=0, abs=1e-12
        )


def test_no_true_label_at_all_gives_no_average_precision() -> None:
    scores = MeanAveragePrecision().compute(predictions=[[0.2, 0.9]], references=[[0, 0]])
    assert math.isnan(scores["map"])


def test_sums_of_examples_give_the_scores_of_any_set_of_them() -> None:
    probabilities, true = drawn("random", 7)
    predicted, names = (probabilities >= 0.5).astype(int), list("abcde")
    sums = MultiLabel().statistics(predicted, true, names)
    rows = np.random.default_rng(0).integers(0, 40, 40)
    weights = np.bincount(rows, minlength=40).reshape(1, -1)
    expected = MultiLabel().compute(
        predictions=predicted[rows].tolist(), references=true[rows].tolist(), label_names=names
    )
    found = {name: value[0] for name, value in sums.resampled(weights).items()}
    assert found == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)
    assert sums.values[:, -2:].sum(0).tolist() == [(predicted == true).all(1).sum(), 40]


def test_a_label_does_not_take_the_name_of_a_mean() -> None:
    given = {"predictions": [[1, 0]], "references": [[1, 1]], "label_names": ["micro", "b"]}
    scores = MultiLabel().compute(**given)
    assert scores == pytest.approx(
        {"f1_micro": 2 / 3, "f1_macro": 0.5, "f1_b": 0.0, "subset_accuracy": 0.0}
    )
