"""The metrics agree with figures computed by hand and need no network."""

import math

import pytest

from expkit.metrics.classification import F1, Accuracy, MacroF1, Matthews

# 3 true positives, 1 false negative, 2 false positives, 2 true negatives.
REFERENCES = [1, 1, 1, 1, 0, 0, 0, 0]
PREDICTIONS = [1, 1, 1, 0, 1, 1, 0, 0]


def test_accuracy() -> None:
    assert Accuracy().compute(predictions=PREDICTIONS, references=REFERENCES) == {"accuracy": 5 / 8}


def test_f1_of_two_labels_is_that_of_label_1() -> None:
    (value,) = F1().compute(predictions=PREDICTIONS, references=REFERENCES).values()
    assert value == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))


def test_f1_of_more_labels_is_the_macro_average() -> None:
    predictions, references = [0, 1, 2, 2], [0, 1, 1, 2]
    by_hand = (1 + 2 / 3 + 2 / 3) / 3
    assert F1().compute(predictions=predictions, references=references) == {
        "f1": pytest.approx(by_hand)
    }
    assert MacroF1().compute(predictions=predictions, references=references) == {
        "macro_f1": pytest.approx(by_hand)
    }


def test_matthews() -> None:
    (value,) = Matthews().compute(predictions=PREDICTIONS, references=REFERENCES).values()
    assert value == pytest.approx((3 * 2 - 2 * 1) / math.sqrt(5 * 4 * 4 * 3))


def test_always_paraphrase_scores_what_is_published_for_mrpc() -> None:
    """The validation split has 279 paraphrases among 408 pairs: accuracy 0.684, F1 0.812."""
    references = [1] * 279 + [0] * 129
    ones = [1] * 408
    assert Accuracy().compute(predictions=ones, references=references)["accuracy"] == pytest.approx(
        0.684, abs=5e-4
    )
    assert F1().compute(predictions=ones, references=references)["f1"] == pytest.approx(
        0.812, abs=5e-4
    )
