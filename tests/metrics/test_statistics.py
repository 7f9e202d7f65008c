"""Scores from summed statistics are those that `compute` finds on the same examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from datasets import Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from expkit.metrics.classification import F1, Accuracy, MacroF1, Matthews
from expkit.metrics.language_modeling import Perplexity
from expkit.metrics.local import LocalMetric
from expkit.metrics.statistics import Statistics, mean
from expkit.metrics.tagging import SeqEval
from expkit.metrics.translation import BLEU, ChrF

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
WORDS = ["今日", "は", "晴れ", "です", "。", "天気", "雨", "の"]

seeds = st.integers(0, 2**32 - 1)


def agrees(
    metric: Any, predictions: Sequence[Any], references: Any, seed: int, **further: int
) -> None:
    """On the whole set, and on sets of any size drawn out of it."""
    rng = np.random.default_rng(seed)
    count = len(predictions)
    draws = [np.arange(count), *(rng.integers(count, size=rng.integers(1, 12)) for _ in range(3))]
    weights = np.stack([np.bincount(draw, minlength=count) for draw in draws]).astype(float)
    scores = metric.statistics(predictions, references, **further).resampled(weights)
    for row, draw in enumerate(draws):
        given = {"predictions": [predictions[i] for i in draw]}
        if references is not None:
            given["references"] = [references[i] for i in draw]
        expected = metric.compute(**given, **further)
        found = {name: values[row] for name, values in scores.items()}
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
        # What compute leaves out, such as a type that does not occur, counts as 0.
        assert all(found[name] == 0 for name in set(found) - set(expected))


@pytest.mark.parametrize("labels", [2, 3, 5])
@pytest.mark.parametrize("metric", ["accuracy", "f1", "macro_f1", "matthews"])
@given(seeds)
@settings(max_examples=15, deadline=None)
def test_labels(metric: str, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(labels, size=(2, 20)).tolist()
    made = {"accuracy": Accuracy, "f1": F1, "macro_f1": MacroF1, "matthews": Matthews}
    further = {"num_labels": labels} if metric == "f1" else {}
    agrees(made[metric](), predicted, true, seed, **further)


@pytest.mark.parametrize("strict", [False, True])
@given(seeds)
@settings(max_examples=25, deadline=None)
def test_entities(strict: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, size=10)
    true, predicted = ([rng.choice(TAGS, size=n).tolist() for n in lengths] for _ in range(2))
    agrees(SeqEval(strict), predicted, true, seed)


@pytest.mark.parametrize("metric", [BLEU("ja"), BLEU("zh"), ChrF(), ChrF(word_order=2)])
@given(seeds)
@settings(max_examples=15, deadline=None)
def test_translations(metric: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def sentence() -> str:
        return "".join(rng.choice(WORDS, size=rng.integers(1, 9)))

    # Sentences with one reference and with two: which of them counts is decided by sentence.
    references = [[sentence() for _ in range(rng.integers(1, 3))] for _ in range(10)]
    agrees(metric, [sentence() for _ in range(10)], references, seed)


class SquaredError(LocalMetric):
    """A metric that has nothing but statistics."""

    takes = Features(dict.fromkeys(("predictions", "references"), Value("float64")))

    def statistics(self, predictions: list[float], references: list[float]) -> Statistics:
        """Squared differences."""
        return mean("squared_error", np.subtract(predictions, references) ** 2)


def test_a_mean_is_computed_from_its_statistics_alone() -> None:
    found = SquaredError().compute(predictions=[1.0, 2.5, 0.0], references=[1.0, 2.0, 3.0])
    assert found == {"squared_error": pytest.approx((0.25 + 9) / 3)}
    predicted, true = np.random.default_rng(0).normal(size=(2, 20)).tolist()
    agrees(SquaredError(), predicted, true, seed=1)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_likelihoods(seed: int) -> None:
    surprise = np.random.default_rng(seed).exponential(3, size=20).tolist()
    agrees(Perplexity(), surprise, None, seed)


def test_items_of_an_example_are_drawn_together() -> None:
    statistics = Accuracy().statistics([1, 0, 1, 1], [1, 1, 1, 0])
    of_blocks = statistics.of_examples(np.array([0, 0, 2, 2]), 3)
    assert isinstance(of_blocks, Statistics)
    weights = np.array([[2.0, 1, 0], [1, 0, 2]])
    assert of_blocks.resampled(weights)["accuracy"] == pytest.approx([1 / 2, 3 / 6])
