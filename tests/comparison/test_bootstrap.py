"""The paired bootstrap agrees with that of sacreBLEU and with SciPy's."""

import time
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest
from scipy import stats

from expkit.comparison.bootstrap import interval, paired_bootstrap
from expkit.comparison.paired import statistics_of
from expkit.metrics.classification import Accuracy
from expkit.metrics.local import LocalMetric
from expkit.metrics.outcomes import Outcomes
from expkit.metrics.segmentation import segmenter
from expkit.metrics.translation import BLEU, ChrF

WORDS = ["私", "は", "水曜日", "から", "日本語", "を", "勉強", "し", "始め", "ます", "。"]
RESAMPLES = 10_000


def translations(count: int, noise: tuple[float, float]) -> tuple[list[str], list[str], list[str]]:
    """Sentences, and what two systems make of them that get some of the words wrong."""
    rng = np.random.default_rng(0)
    true = [rng.choice(WORDS, size=rng.integers(5, 15)) for _ in range(count)]

    def system(wrong: float) -> list[str]:
        return [
            "".join(np.where(rng.random(len(s)) < wrong, rng.choice(WORDS, size=len(s)), s))
            for s in true
        ]

    return ["".join(s) for s in true], system(noise[0]), system(noise[1])


@pytest.mark.parametrize("noise", [(0.3, 0.32), (0.3, 0.33), (0.3, 0.45)])
def test_p_values_are_those_of_sacrebleu(
    noise: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within four standard errors of a share of so many draws, on both sides."""
    references, first, second = translations(120, noise)
    pairs = [
        (m.statistics(first, references), m.statistics(second, references))
        for m in (BLEU("ja"), ChrF())
    ]
    bleu, chrf = paired_bootstrap(pairs, RESAMPLES, seed=1)

    cut = segmenter("mecab")
    monkeypatch.setenv("SACREBLEU_SEED", "12345")

    def reference(metric: Any, words: Callable[[str], str]) -> list[Any]:
        systems = [(name, list(map(words, s))) for name, s in (("a", first), ("b", second))]
        test = PairedTest(
            systems, {"m": metric}, [list(map(words, references))], "bs", n_samples=RESAMPLES
        )
        _, scores = test()
        return next(results for name, results in scores.items() if name != "System")

    for ours, theirs in (
        (bleu, reference(sacrebleu.BLEU(tokenize="none", force=True), cut)),
        (chrf, reference(sacrebleu.CHRF(), str)),
    ):
        assert [ours.first, ours.second] == pytest.approx([r.score for r in theirs])
        p = theirs[1].p_value
        error = np.sqrt(2 * max(p * (1 - p), 1 / RESAMPLES) / RESAMPLES)
        assert ours.p == pytest.approx(p, abs=4 * error)


def test_interval_of_accuracy_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(2, size=400)
    first, second = (np.where(rng.random(400) < right, true, 1 - true) for right in (0.8, 0.85))
    metric = Accuracy()
    statistics = [metric.statistics(s.tolist(), true.tolist()) for s in (first, second)]
    (ours,) = paired_bootstrap([(statistics[0], statistics[1])], RESAMPLES, seed=1)

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return b.mean(axis) - a.mean(axis)

    theirs = stats.bootstrap(
        (first == true, second == true),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(2),
    )
    assert ours.difference == pytest.approx((second == true).mean() - (first == true).mean())
    # The standard error of a 2.5 % quantile of a normal sample is 2.67 σ/√n; two of them differ.
    error = 4 * np.sqrt(2) * 2.67 * theirs.standard_error / np.sqrt(RESAMPLES)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error + 1 / 400)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error + 1 / 400)


def test_a_system_does_not_differ_from_itself() -> None:
    statistics = Accuracy().statistics([1, 0, 1, 1], [1, 1, 1, 0])
    (found,) = paired_bootstrap([(statistics, statistics)], 100, seed=0)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_draws_do_not_depend_on_how_many_are_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statistics = [Accuracy().statistics(p, [1, 1, 1, 0, 0]) for p in ([1, 0, 1, 1, 0], [1] * 5)]
    pair = [(statistics[0], statistics[1])]
    at_once = paired_bootstrap(pair, 100, seed=0)
    monkeypatch.setattr("expkit.comparison.bootstrap.CELLS", 5)
    assert paired_bootstrap(pair, 100, seed=0) == at_once


def test_a_thousand_translations_take_a_few_seconds() -> None:
    references, first, second = translations(1000, (0.3, 0.35))
    started = time.perf_counter()
    pairs = [
        (m.statistics(first, references), m.statistics(second, references))
        for m in (BLEU("ja"), ChrF())
    ]
    paired_bootstrap(pairs, 1000, seed=0)
    assert time.perf_counter() - started < 20  # about two on an idle core


class Own(LocalMetric):
    """Accuracy as somebody writes it who knows nothing of statistics."""

    takes = Accuracy.takes

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        if set(references) == {0}:
            raise ValueError("only one label")
        return {"accuracy": float(np.mean(np.equal(predictions, references)))}


@pytest.mark.parametrize("examples", [None, [0, 0, 1, 2, 2, 2, 4, 4]])
def test_a_metric_without_statistics_is_computed_anew_for_each_draw(
    examples: list[int] | None,
) -> None:
    """And finds what sums find; an example that has no item is drawn too."""
    true = [1, 0, 1, 1, 0, 1, 0, 1]
    first, second = [1, 0, 1, 0, 0, 1, 1, 0], [1, 1, 1, 1, 0, 1, 0, 1]
    seen = [Outcomes("", ["x"], predicted, true, examples) for predicted in (first, second)]
    sums, anew = (
        tuple(statistics_of(metric, of_run) for of_run in seen) for metric in (Accuracy(), Own())
    )
    assert [len(x) for x in (*sums, *anew)] == [8 if examples is None else 5] * 4
    by_sums, by_metric = paired_bootstrap([sums, anew], 200, seed=3)  # type: ignore[list-item]
    assert astuple(by_metric) == pytest.approx(astuple(by_sums))
    assert interval([anew[0]], 200, 3)["accuracy"] == interval([sums[0]], 200, 3)["accuracy"]


def test_draws_without_a_score_are_left_out_as_long_as_they_are_few() -> None:
    few, many = ([1] * ones + [0] * zeros for ones, zeros in ((4, 6), (1, 9)))
    for true, is_defined in ((few, True), (many, False)):
        seen = statistics_of(Own(), Outcomes("", ["x"], [1] * 10, true))
        drawn = seen.resampled(np.array([[1] * 10, [0] * 9 + [10]], float))["accuracy"]
        assert drawn[0] == np.mean(true)
        assert np.isnan(drawn[1])
        found = interval([seen], 500, 0)["accuracy"]
        assert found.score == np.mean(true)
        assert (found.low is None) == (found.high is None) == (not is_defined)
        (pair,) = paired_bootstrap([(seen, seen)], 500, 0)
        assert np.isnan([pair.low, pair.high, pair.p]).tolist() == [not is_defined] * 3
