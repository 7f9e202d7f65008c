"""What is chosen on validation data, and that it is scored there as fairly as on fresh data."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn.functional import cross_entropy
from transformers import BertConfig

from expkit.metrics.calibration import BINS, ECE, binned
from expkit.metrics.classification import F1, Accuracy
from expkit.metrics.multilabel import MultiLabel
from expkit.tasks.decisions import (
    KEY,
    Decision,
    Decisions,
    choose_for,
    choose_for_several,
    keys_of,
    parts_of,
)
from expkit.terminal.errors import UserError

METRICS = {"accuracy": Accuracy(), "f1": F1()}


def at_random(seed: int, count: int, share: float = 0.4) -> tuple[list[list[float]], list[int]]:
    """Logits that say nothing, and labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)).tolist(), (rng.random(count) < share).astype(int).tolist()


def asked(true: Any, kind: str = "old") -> list[str]:
    """What the model was asked in each example."""
    return [f"{kind} {i}" for i in range(len(true))]


def tuned(score: str = "f1", *, calibrates: bool = False) -> Decisions:
    made = Decisions("tune", calibrates, has_several=False)
    made.choose = choose_for(score, METRICS, {"num_labels": 2})
    return made


def scored(score: str, labels: Any, true: Any) -> float:
    return {"f1": f1_score, "accuracy": accuracy_score}[score](true, labels)


@pytest.mark.parametrize("score", ["f1", pytest.param("accuracy", marks=pytest.mark.slow)])
def test_the_score_on_validation_is_that_of_fresh_data(score: str) -> None:
    """On 200 data sets with labels at random; what was chosen on a set looks better on it."""
    fair, unfair = [], []
    for seed in range(200):
        decisions, (logits, true) = tuned(score), at_random(seed, 60)
        _, labels = decisions.read(logits, true, asked(true))
        chosen = decisions.settle(logits, true, asked(true))
        fresh, fresh_true = at_random(seed + 1000, 60)
        on_fresh = scored(
            score, decisions.read(fresh, fresh_true, asked(fresh_true, "new"))[1], fresh_true
        )
        fair.append(scored(score, labels, true) - on_fresh)
        made = Decision(**chosen[KEY])
        again = made.labels(made.probabilities(logits, False), False)
        unfair.append(scored(score, again, true) - on_fresh)
    errors = [np.std(part) / len(part) ** 0.5 for part in (fair, unfair)]
    assert abs(np.mean(fair)) < 2 * errors[0]
    assert np.mean(unfair) > 3 * errors[1]


@pytest.mark.parametrize("score", ["accuracy", "f1"])
def test_no_other_threshold_is_better(score: str) -> None:
    logits, true = at_random(1, 150)
    decisions = tuned(score)
    threshold = decisions.settle(logits, true, asked(true))[KEY]["thresholds"][0]
    probabilities = Decision().probabilities(logits, False)[:, 1]
    best = scored(score, probabilities >= threshold, true)
    others = [scored(score, probabilities >= p, true) for p in [*probabilities, 2.0]]
    assert best == pytest.approx(max(others))


def test_examples_are_read_with_what_others_say() -> None:
    logits, true = at_random(2, 25)
    before = tuned().read(logits, true, asked(true))[1]
    for i in range(25):  # what an example is read with does not depend on its own logits
        changed = [[9.0, -9.0] if j == i else row for j, row in enumerate(logits)]
        after = tuned().read(changed, true, asked(true))[1]
        parts = parts_of(keys_of(asked(true), true))
        others = (parts == parts[i]) & (np.arange(25) != i)
        assert (before[others] == after[others]).all()


def test_the_order_of_examples_does_not_matter() -> None:
    logits, true = at_random(7, 60)
    decisions = tuned(calibrates=True)
    expected = decisions.read(logits, true, asked(true))
    decisions.settle(logits, true, asked(true))
    order = np.random.default_rng(1).permutation(60)
    found = decisions.read(
        np.array(logits)[order].tolist(),
        np.array(true)[order],
        np.array(asked(true))[order].tolist(),
    )
    assert np.allclose(found[0], expected[0][order])
    assert np.array_equal(found[1], expected[1][order])


def test_equal_examples_are_in_one_part() -> None:
    parts = parts_of(["b", "a", "b", *map(str, range(30)), "b"])
    assert parts[0] == parts[2] == parts[-1]
    one = [[0.0, 2.0]] * 5
    assert tuned().read(one, [1] * 5, ["same"] * 5)[1].tolist() == [1] * 5


def test_without_evidence_the_threshold_stays() -> None:
    rng = np.random.default_rng(8)
    logits = np.stack([rng.normal(3, 1, 50), rng.normal(0, 1, 50)], axis=1).tolist()
    assert tuned().settle(logits, [0] * 50, asked(logits))[KEY]["thresholds"] == [0.5]


def test_a_rare_label_gets_the_best_of_all_thresholds() -> None:
    rng = np.random.default_rng(9)
    true = (rng.random(5000) < 0.01).astype(int)
    margins = rng.normal(size=5000) + 3 * true
    logits = np.stack([np.zeros(5000), margins], axis=1)
    threshold = tuned().settle(logits.tolist(), true, asked(true))[KEY]["thresholds"][0]
    probabilities = Decision().probabilities(logits, False)[:, 1]
    best = max(f1_score(true, probabilities >= p) for p in probabilities[true == 1])
    assert f1_score(true, probabilities >= threshold) == pytest.approx(best)


def test_the_temperature_has_the_least_loss() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3)) * 4
    true = [int(rng.choice(3, p=p)) for p in Decision().probabilities(logits / 2.5, False)]
    decisions = Decisions(0.5, calibrates=True, has_several=False)
    found = decisions.settle(logits.tolist(), true, asked(true))[KEY]["temperature"]

    def loss(temperature: float) -> float:
        return cross_entropy(torch.tensor(logits) / temperature, torch.tensor(true)).item()

    assert found == pytest.approx(2.5, rel=0.2)
    assert loss(found) <= min(loss(found * 1.01), loss(found / 1.01))


def test_what_was_chosen_goes_through_the_config_of_the_model() -> None:
    logits, true = at_random(3, 80)
    decisions = tuned(calibrates=True)
    cross_fitted = decisions.read(logits, true, asked(true))
    config = BertConfig.from_dict(
        BertConfig(**decisions.settle(logits, true, asked(true))).to_dict()
    )
    fresh, other = at_random(4, 80)
    expected = decisions.read(fresh, other, asked(other, "new"))
    adopted = tuned(calibrates=True)
    adopted.adopt(config)
    for one, two in ((adopted.read(logits, true, asked(true)), cross_fitted), (adopted.read(fresh, other, asked(other, "new")), expected)):  # fmt: skip
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    decision = Decision.of(config)
    probabilities = decision.probabilities(fresh, False)
    assert np.array_equal(decision.labels(probabilities, False), expected[1])


@pytest.mark.parametrize("score", ["f1_micro", "f1_macro", "f1_b", "subset_accuracy"])
def test_no_other_threshold_of_one_of_several_labels_is_better(score: str) -> None:
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(40, 3))
    true = (rng.random((40, 3)) < 0.3 + 0.2 * logits).astype(int)
    metric, names = MultiLabel(), {"label_names": ["a", "b", "c"]}
    decisions = Decisions("tune", calibrates=False, has_several=True)
    decisions.choose = choose_for_several(score, {"multilabel": metric}, names)
    chosen = Decision(**decisions.settle(logits.tolist(), true, asked(true))[KEY])
    probabilities = Decision().probabilities(logits, True)

    def scored_by(thresholds: Any) -> float:
        made = (probabilities >= thresholds).astype(int).tolist()
        return metric._compute(made, true.tolist(), **names)[score]

    best = scored_by(chosen.thresholds)
    assert best > scored_by([0.5] * 3)
    for label in range(3):
        for p in [*probabilities[:, label], 2.0]:
            others = list(chosen.thresholds or ())
            others[label] = p
            assert scored_by(others) <= best + 1e-12
    fitted = decisions.read(logits.tolist(), true, asked(true))[1]
    assert fitted.shape == true.shape
    assert not np.array_equal(fitted, chosen.labels(probabilities, True)), "cross-fitted"
    assert np.array_equal(
        decisions.read(logits.tolist(), true, asked(true, "new"))[1],
        chosen.labels(probabilities, True),
    )


def test_a_score_that_no_thresholds_of_labels_are_chosen_for() -> None:
    names = {"label_names": ["a", "b"]}
    with pytest.raises(UserError, match=r"task.tune_for='map'.*f1_macro"):
        choose_for_several("map", {"multilabel": MultiLabel()}, names)


def test_without_a_choice_nothing_is_kept() -> None:
    logits, true = at_random(5, 20)
    decisions = Decisions(0.5, calibrates=False, has_several=False)
    assert decisions.settle(logits, true, asked(true)) == {}
    assert (
        decisions.read(logits, true, asked(true))[1].tolist() == np.argmax(logits, axis=1).tolist()
    )
    given = Decisions(0.9, calibrates=False, has_several=False)
    assert given.settle(logits, true, asked(true))[KEY]["thresholds"] == [0.9]
    probabilities, labels = given.read(logits, true, asked(true))
    assert labels.tolist() == (probabilities[:, 1] >= 0.9).astype(int).tolist()


def test_a_score_without_a_threshold_is_refused() -> None:
    with pytest.raises(UserError, match=r"task.tune_for='loss'.*accuracy"):
        choose_for("loss", METRICS, {"num_labels": 2})


def test_calibration_error_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    sure = np.concatenate([rng.random(300), [0.0, 1.0, 1 / BINS, 3 / BINS]])
    predictions = np.stack([rng.integers(0, 3, len(sure)), sure], axis=1).tolist()
    true = rng.integers(0, 3, len(sure)).tolist()
    expected = 0.0
    for b in range(BINS):
        inside = [i for i, s in enumerate(sure) if b / BINS < s <= (b + 1) / BINS or (s == b == 0)]
        right = sum(predictions[i][0] == true[i] for i in inside)
        expected += abs(right - sum(sure[i] for i in inside)) / len(sure)
    found = ECE().compute(predictions=predictions, references=true)
    assert found == {"ece": pytest.approx(expected, abs=1e-12)}
    assert binned([[1, 1 / BINS]], [1])[0].tolist() == [0]
