"""Metrics of scikit-learn: each scorer gives what scikit-learn gives, and says what fits it."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning

from conftest import composed
from expkit.config.checks import check
from expkit.config.components import Metrics
from expkit.metrics.local import PROBABILITIES
from expkit.metrics.scikit import Scikit
from expkit.terminal.errors import ConfigError, UserError

TARGET = "expkit.metrics.scikit.Scikit"
COUNT = 120


class Classifier(ClassifierMixin, BaseEstimator):
    """Predicts what it was given."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.classes_ = np.arange(made.shape[1])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, inputs: Any) -> Any:
        return self.made.argmax(1)

    def predict_proba(self, inputs: Any) -> Any:
        return self.made


class Regressor(RegressorMixin, BaseEstimator):
    """Predicts what it was given."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def predict(self, inputs: Any) -> Any:
        return self.made


def data(labels: int) -> tuple[list[Any], Any, Any]:
    """True labels, what was predicted, and an estimator that predicts it; 0 labels are numbers."""
    rng = np.random.default_rng(labels)
    if not labels:
        true = rng.integers(1, 9, COUNT) / 4
        made = np.abs(true + rng.normal(size=COUNT)) + 0.01
        return true.tolist(), made, Regressor(made)
    made = rng.dirichlet(np.ones(labels), COUNT)
    return rng.integers(labels, size=COUNT).tolist(), made, Classifier(made)


def made(**settings: Any) -> Scikit:
    metric: Scikit = Metrics({"mine": {"_target_": TARGET, **settings}})["mine"]
    return metric


@pytest.mark.parametrize("labels", [0, 2, 3])
@pytest.mark.parametrize("scorer", sklearn.get_scorer_names())
def test_scorers_give_what_scikit_learn_gives(scorer: str, labels: int) -> None:
    """Or say before training that they do not fit; a negated score gets its own sign again."""
    true, predicted, estimator = data(labels)
    reference = sklearn.get_scorer(scorer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            expected = reference._sign * reference(estimator, np.zeros((COUNT, 1)), true)
        except (ValueError, AttributeError):
            expected = None
    if any(warning.category is UndefinedMetricWarning for warning in caught):
        expected = np.nan  # such as the best two of two labels
    metric, further = made(scorer=scorer), {"num_labels": labels} if labels else {}
    if expected is None:
        with pytest.raises(UserError, match=r"task.metrics.mine: \w+ of scikit-learn, which needs"):
            metric.require_fit(true, **further)
        return
    metric.require_fit(true, **further)
    if labels and metric.needs != PROBABILITIES:
        predicted = predicted.argmax(1)
    scores = metric.compute(predictions=predicted.tolist(), references=true, **further)
    assert scores == {"mine": pytest.approx(expected, abs=1e-12, nan_ok=True)}
    assert scores["mine"] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_split_may_lack_a_label() -> None:
    """The log loss is defined then, and the area under a curve is not."""
    made_of = [[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]
    given = {"predictions": made_of, "references": [1, 0], "num_labels": 3}
    assert made(scorer="neg_log_loss").compute(**given)["mine"] == pytest.approx(
        -np.log([0.7, 0.5]).mean()
    )
    assert np.isnan(made(scorer="roc_auc_ovr").compute(**given)["mine"])


def test_a_score_that_scikit_learn_refuses_is_nan_and_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metric = made(scorer="neg_mean_squared_log_error")
    metric.require_fit([1.0, 2.0])
    scores = metric.compute(predictions=[-5.0, 1.0], references=[1.0, 2.0])
    assert np.isnan(scores["mine"])
    assert "WARNING: mine is not defined: " in capsys.readouterr().out


def test_a_score_that_scikit_learn_makes_up_is_nan() -> None:
    """It calls the average precision without a positive 0, and so a recall."""
    rows = [[0.2, 0.8], [0.6, 0.4]]
    metric = made(scorer="average_precision")
    assert np.isnan(metric.compute(predictions=rows, references=[0, 0], num_labels=2)["mine"])
    assert metric.compute(predictions=rows, references=[1, 0], num_labels=2)["mine"] == 1
    assert np.isnan(made(scorer="recall").compute(predictions=[0, 1], references=[0, 0])["mine"])
    with pytest.raises(UserError, match="margins"):
        made(function="sklearn.metrics.hinge_loss", direction="minimize")


def test_rows_of_several_labels() -> None:
    true, rows = [[1, 0, 1], [0, 1, 0]], [[1, 0, 0], [0, 1, 0]]
    metric = made(scorer="f1_samples")
    metric.require_fit(true)
    expected = sklearn.f1_score(true, rows, average="samples")
    assert metric.compute(predictions=rows, references=true)["mine"] == expected
    metric = made(scorer="average_precision")
    metric.require_fit(true)
    shares = [[0.9, 0.1, 0.4], [0.5, 0.8, 0.1]]
    expected = sklearn.average_precision_score(true, shares)
    assert metric.compute(predictions=shares, references=true)["mine"] == expected


def test_functions_and_their_settings() -> None:
    true, predicted = [0, 1, 2, 2, 1], [0, 2, 2, 1, 1]
    kappa = "sklearn.metrics.cohen_kappa_score"
    metric = made(function=kappa, settings={"weights": "quadratic"}, direction="maximize")
    expected = sklearn.cohen_kappa_score(true, predicted, weights="quadratic")
    assert metric.compute(predictions=predicted, references=true) == {"mine": expected}
    ranking = made(function="sklearn.metrics.ndcg_score", direction="maximize")
    assert ranking.needs == PROBABILITIES
    assert made(function="sklearn.metrics.log_loss").needs == PROBABILITIES
    with pytest.raises(UserError, match=r"task.metrics.mine: .*'weight'"):
        made(function=kappa, settings={"weight": 1}).require_fit(true)
    with pytest.raises(UserError, match=r"task.metrics.mine: confusion_matrix"):
        made(function="sklearn.metrics.confusion_matrix").require_fit(true)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"scorer": "balanced_acuracy"}, "did you mean 'balanced_accuracy'"),
        ({"function": "os.system"}, "expected a scorer or a function of scikit-learn"),
        (
            {"function": "sklearn.metrics.cohen_kapa_score"},
            "mean 'sklearn.metrics.cohen_kappa_score'",
        ),
        ({}, "expected a scorer or a function of scikit-learn"),
        (
            {"scorer": "r2", "function": "sklearn.metrics.r2_score"},
            "expected a scorer or a function",
        ),
        ({"scorer": "r2", "direction": "minimize"}, "scikit-learn says maximize"),
        ({"scorer": "r2", "direction": "up"}, "direction='up'"),
        ({"scorrer": "r2"}, "did you mean 'scorer'"),
    ],
)
def test_bad_settings_are_told_before_anything_is_read(
    metric: dict[str, str], message: str
) -> None:
    given = ", ".join(f"{key}: {value}" for key, value in {"_target_": TARGET, **metric}.items())
    with pytest.raises((ConfigError, UserError), match=message):
        check(composed(f"+task.metrics.mine={{{given}}}", "objective=eval/mine"), [])


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("scorer: balanced_accuracy", "maximize"),
        ("scorer: neg_log_loss", "minimize"),
        ("function: sklearn.metrics.log_loss", "minimize"),
        ("function: sklearn.metrics.hamming_loss, direction: minimize", "minimize"),
    ],
)
def test_a_score_has_the_name_of_its_key_and_the_direction_of_its_scorer(
    metric: str, direction: str
) -> None:
    given = f"+task.metrics.mine={{_target_: {TARGET}, {metric}}}"
    cfg = composed(given, "objective=eval/mine")
    check(cfg, [])
    assert cfg.direction == direction


def test_a_function_of_which_nothing_says_a_direction_is_no_objective() -> None:
    metric = f"+task.metrics.mine={{_target_: {TARGET}, function: sklearn.metrics.hamming_loss}}"
    check(composed(metric), [])
    with pytest.raises(ConfigError, match=r"add direction=minimize or direction=maximize"):
        check(composed(metric, "objective=eval/mine"), [])
