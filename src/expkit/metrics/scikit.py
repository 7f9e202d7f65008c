"""Any metric of scikit-learn, by the name of its scorer or of its function."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import datasets
import numpy as np

from expkit.metrics.local import LABELS, PROBABILITIES, LocalMetric
from expkit.terminal.display import say
from expkit.terminal.errors import UserError, nearest, reason

# What scikit-learn calls predictions that are no labels, in functions that have no scorer.
NO_LABELS = ("y_score", "y_proba")


class Scikit(LocalMetric):
    """A score that takes its name from `task.metrics`; NaN where scikit-learn refuses to compute it.

    What scikit-learn calls `neg_*` is logged without the sign.

    Args:
        scorer: one of `sklearn.metrics.get_scorer_names()`.
        function: in place of a scorer, `sklearn.metrics.NAME`.
        settings: further arguments of the function.
        direction: of a function that no scorer uses.
    """

    takes = datasets.Features()
    score_name = ""  # set by config/components.py

    def __init__(
        self,
        scorer: str | None = None,
        function: str | None = None,
        settings: Mapping[str, Any] | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
    ) -> None:
        super().__init__()
        self._function, known = _found(scorer, function)
        self._settings = {**(known._kwargs if scorer else {}), **(settings or {})}
        parameters = list(inspect.signature(self._function).parameters)
        if "pred_decision" in parameters:
            raise UserError(f"task.metrics: {function}: needs margins, which no task has")
        by_labels = known._response_method == "predict" if known else parameters[1] not in NO_LABELS
        self.needs = LABELS if by_labels else PROBABILITIES
        self._takes_labels = "labels" in parameters and not by_labels

    @staticmethod
    def direction(
        scorer: str | None = None,
        function: str | None = None,
        settings: object = None,
        direction: str | None = None,
    ) -> str | None:
        """What the scorer says, or what was given; raises a UserError if they contradict each other."""
        _, known = _found(scorer, function)
        said = known and ("maximize" if known._sign > 0 else "minimize")
        if said and direction not in (None, said):
            raise UserError(f"task.metrics: direction={direction}: scikit-learn says {said}")
        return said or direction

    def require_fit(self, labels: Sequence[Any], num_labels: int | None = None) -> None:
        """Score labels as if they were predicted; raises a UserError if they are not for this metric."""
        first, by_labels = labels[0], self.needs == LABELS
        true = labels[:1000] if isinstance(first, list) else sorted(set(labels))
        try:
            predicted: Any = true
            if isinstance(first, float):
                predicted = np.add(true, 0.25) if by_labels else None
            elif not by_labels and not isinstance(first, list):
                predicted = np.eye(num_labels or 0)[true]
            self._compute(predicted, true, num_labels)
        except Exception as error:  # whatever scikit-learn does with what it is not made for
            raise UserError(
                f"task.metrics.{self.score_name}: {self._function.__name__} of scikit-learn, which needs {self.needs}, "
                f"does not fit the labels of this task, such as {first!r:.60}; docs/metrics.md says what each task has: "
                f"{reason(error)}"
            ) from None

    def compute(self, **given: Any) -> dict[str, float]:
        """The score of a split."""
        try:
            made = self._compute(**given)
        except ValueError as error:
            say(f"WARNING: {self.score_name} is not defined: {reason(error)}")
            return {self.score_name: np.nan}
        if np.isnan(made[self.score_name]):
            say(f"WARNING: {self.score_name} is not defined for these labels")
        return made

    def _compute(
        self, predictions: Any, references: Any, num_labels: int | None = None
    ) -> dict[str, float]:
        from sklearn.exceptions import UndefinedMetricWarning

        made, settings = np.asarray(predictions), dict(self._settings)
        if self._takes_labels and num_labels:  # a split may lack some
            settings.setdefault("labels", list(range(num_labels)))
        if self.needs == PROBABILITIES and num_labels == 2 and np.ndim(references) == 1:
            made = made[:, 1]  # of two labels, scikit-learn wants the second
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            score = float(self._function(references, made, **settings))
        for warning in caught:  # of a score that scikit-learn makes up, such as 0
            if warning.category is UndefinedMetricWarning or "No positive" in str(warning.message):
                return {self.score_name: np.nan}
        return {self.score_name: score}


@cache
def _found(scorer: str | None, function: str | None) -> tuple[Any, Any]:
    """A function of scikit-learn and a scorer that uses it, or None."""
    from sklearn import metrics

    scorers = {name: metrics.get_scorer(name) for name in metrics.get_scorer_names()}
    functions = {
        f"sklearn.metrics.{name}": found
        for name in metrics.__all__
        if inspect.isfunction(found := getattr(metrics, name))
    }
    if function is None and scorer in scorers:
        return scorers[scorer]._score_func, scorers[scorer]
    if scorer is None and function in functions:
        found = functions[function]
        return found, next((s for s in scorers.values() if s._score_func is found), None)
    raise UserError(
        f"task.metrics: scorer={scorer}, function={function}: expected a scorer or a function of scikit-learn; "
        f"{nearest(str(function or scorer), functions if function else scorers)}"
    )
