"""The figures of seqeval's own documentation and figures computed by hand."""

import numpy as np
import pytest

from expkit.metrics.tagging import SeqEval
from expkit.terminal.errors import UserError

# From the README of seqeval: one entity begins a word too early, the other is right.
TRUE = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
PREDICTED = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]


@pytest.mark.parametrize("strict", [False, True])
def test_example_of_seqeval(strict: bool) -> None:
    assert SeqEval(strict).compute(predictions=PREDICTED, references=TRUE) == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "accuracy": 0.8,
        "f1_MISC": 0.0,
        "f1_PER": 1.0,
    }


def test_strict_mode_of_seqeval() -> None:
    """The README's second example: I-NP starts what B-NP should start."""
    true = [["B-NP", "I-NP", "O"]]
    predicted = [["I-NP", "I-NP", "O"]]
    assert SeqEval().compute(predictions=predicted, references=true)["f1"] == 1.0
    strict = SeqEval(strict=True).compute(predictions=predicted, references=true)
    assert strict["f1"] == strict["f1_NP"] == 0.0


def test_by_hand() -> None:
    """Two of three predictions are right, of four entities; one PER is predicted as LOC."""
    true = [["B-PER", "O", "B-LOC", "B-PER", "I-PER", "O", "B-LOC"]]
    predicted = [["B-LOC", "O", "B-LOC", "B-PER", "I-PER", "O", "O"]]
    assert SeqEval().compute(predictions=predicted, references=true) == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 4),
        "f1": pytest.approx(2 * 2 / (3 + 4)),
        "accuracy": pytest.approx(5 / 7),
        "f1_LOC": pytest.approx(2 * 1 / (2 + 2)),
        "f1_PER": pytest.approx(2 * 1 / (1 + 2)),
    }


@pytest.mark.parametrize("strict", [False, True])
def test_no_entities_anywhere(strict: bool) -> None:
    scores = SeqEval(strict).compute(predictions=[["O", "O"], []], references=[["O", "O"], []])
    assert scores == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 1.0}


def test_names_choose_the_overall_scores() -> None:
    scores = SeqEval(names=["f1", "f1_PER"]).compute(predictions=PREDICTED, references=TRUE)
    assert list(scores) == ["f1", "f1_MISC", "f1_PER"]
    with pytest.raises(UserError, match=r"'recal'.*did you mean 'recall'"):
        SeqEval(names=["recal"])


def test_each_type_has_a_score_under_its_own_name() -> None:
    """What MLflow takes is decided where a score is logged; see tests/test_names.py."""
    types = ["work of/art+", "人名", "A&B", "A+B", "A_B", "A_x0026_B"]
    tags = [[f"B-{name}" for name in types]]
    metric = SeqEval()
    scores = metric.compute(predictions=tags, references=tags)
    assert {f"f1_{name}" for name in types} <= set(scores)
    resampled = metric.statistics(predictions=tags, references=tags).resampled(np.ones((1, 1)))
    assert {name: value[0] for name, value in resampled.items()} == scores
