"""Any metric of scikit-learn, by the name of its scorer or of its function."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import datasets
import numpy as np

from expkit.metrics.local import LABELS, PROBABILITIES, LocalMetric
from expkit.terminal.display import say
from expkit.terminal.errors import UserError, nearest, reason

MODULE = "sklearn.metrics"
SCORES = (
    "y_score",
    "y_proba",
    "pred_decision",
)  # what scikit-learn calls predictions that are no labels
Values = dict[str, float]


class Scikit(LocalMetric):
    """One score of scikit-learn: it sees label ids, numbers or rows of 0 and 1, or what the scorer asks for.

    A score is NaN where scikit-learn refuses to compute it. What it calls `neg_*` is logged without the sign.

    Args:
        scorer: one of `sklearn.metrics.get_scorer_names()`.
        function: in place of a scorer, `sklearn.metrics.NAME`.
        settings: further arguments of the function.
        direction: of a function that has no scorer: `minimize` or `maximize`.
        name: of the score; None: that of the scorer without `neg_`, or that of the function.
    """

    takes = datasets.Features()

    def __init__(
        self,
        scorer: str | None = None,
        function: str | None = None,
        settings: Mapping[str, Any] | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self._given = scorer or function
        self._function, known = _found(scorer, function)
        ((self._name, said),) = self.direction(scorer, function, settings, direction, name).items()
        if said is None:
            raise UserError(
                f"task.metrics: function={function}: has no scorer that says whether less or more of it is better; "
                "add direction: minimize or direction: maximize"
            )
        self._settings = {**(known._kwargs if scorer else {}), **(settings or {})}
        parameters = inspect.signature(self._function).parameters
        if wrong := next((key for key in settings or () if key not in parameters), None):
            raise UserError(
                f"task.metrics: settings.{wrong}: {self._function.__name__} has no such parameter; "
                f"{nearest(wrong, list(parameters)[2:])}"
            )
        by_labels = (
            known._response_method == "predict" if known else list(parameters)[1] not in SCORES
        )
        self.needs = LABELS if by_labels else PROBABILITIES
        self._takes_labels = "labels" in parameters and not by_labels

    @staticmethod
    def direction(
        scorer: str | None = None,
        function: str | None = None,
        settings: Mapping[str, Any] | None = None,
        direction: str | None = None,
        name: str | None = None,
    ) -> dict[str, str | None]:
        """The direction of the score by its name, as a scorer says it.

        Raises:
            UserError: scikit-learn has no such metric, or its scorer says otherwise than `direction`.
        """
        found, known = _found(scorer, function)
        said = known and ("maximize" if known._sign > 0 else "minimize")
        if said and direction and said != direction:
            raise UserError(
                f"task.metrics: direction={direction}: scikit-learn says {said} for {scorer or function}"
            )
        return {name or (scorer or found.__name__).removeprefix("neg_"): said or direction}

    def require_fit(self, labels: Sequence[Any], num_labels: int | None = None) -> None:
        """Score labels as if they were predicted; raises a UserError if they are none for this metric."""
        are_numbers = isinstance(labels[0], float)
        true = labels[:1000] if isinstance(labels[0], list) else sorted(set(labels))
        predicted = [label + 0.25 for label in true] if are_numbers else true
        try:
            if self.needs == PROBABILITIES and not isinstance(labels[0], list):
                predicted = np.eye(num_labels or 0)[true].tolist()
            self._compute(predicted, true, num_labels)
        except Exception as error:  # whatever scikit-learn does with what it is not made for
            why = (
                "it needs probabilities" if are_numbers and self.needs != LABELS else reason(error)
            )
            raise UserError(
                f"task.metrics: {self._given}: does not fit labels such as {labels[0]!r:.60}: {why}; choose another "
                "one: https://scikit-learn.org/stable/modules/model_evaluation.html"
            ) from None

    def compute(self, *, predictions: Any = None, references: Any = None, **further: Any) -> Values:
        """The score of a split."""
        try:
            return self._compute(predictions, references, **further)
        except ValueError as error:
            say(f"WARNING: {self._name} is not defined: {reason(error)}")
            return {self._name: np.nan}

    def _compute(self, predictions: Any, references: Any, num_labels: int | None = None) -> Values:
        made = np.asarray(predictions)
        more = {"labels": list(range(num_labels))} if num_labels and self._takes_labels else {}
        if self.needs == PROBABILITIES and num_labels == 2 and np.ndim(references) == 1:
            made = made[:, 1]  # scikit-learn wants those of the second label
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of scores that are not defined; docs/metrics.md says what they are
            return {
                self._name: float(self._function(references, made, **{**more, **self._settings}))
            }


def _found(scorer: str | None, function: str | None) -> tuple[Any, Any]:
    """A function of scikit-learn, and the scorer that uses it, if there is one."""
    from sklearn import metrics

    if (scorer is None) == (function is None):
        raise UserError("task.metrics: Scikit: expected either scorer or function")
    names = metrics.get_scorer_names()
    if scorer is not None:
        if scorer not in names:
            raise UserError(
                f"task.metrics: scorer={scorer!r}: scikit-learn has none; {nearest(scorer, names)}"
            )
        known = metrics.get_scorer(scorer)
        return known._score_func, known
    module, _, name = str(function).rpartition(".")
    if (
        module != MODULE
        or name not in metrics.__all__
        or not inspect.isfunction(getattr(metrics, name))
    ):
        allowed = [
            f"{MODULE}.{n}" for n in metrics.__all__ if inspect.isfunction(getattr(metrics, n))
        ]
        raise UserError(f"task.metrics: function={function!r}: {nearest(str(function), allowed)}")
    found = getattr(metrics, name)
    scorers = map(metrics.get_scorer, names)
    return found, next((s for s in scorers if s._score_func is found), None)
