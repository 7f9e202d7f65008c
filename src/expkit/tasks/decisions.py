"""From logits to probabilities and labels, with a temperature and thresholds that are chosen on validation data.

What is chosen on examples looks too good on them. So their own scores come from cross-fitting: the examples are
divided into parts, and each part is read with what was chosen on all the others. Any other data, and the
exported model, are read with what was chosen on all of these examples.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

from expkit.answering.answers import KEY, Decision
from expkit.config.direction import MAXIMIZE, MINIMIZE
from expkit.metrics.multilabel import MultiLabel
from expkit.metrics.outcomes import digest, taken_by
from expkit.terminal.errors import UserError, nearest

Array = np.ndarray
TUNE = "tune"  # as a threshold
PARTS = 10
ROUNDS = 5  # over all labels, at most
MOST = 200  # thresholds that are tried
TEMPERATURES = (0.05, 20.0)  # the lowest and the highest

# From the margins (examples, thresholds) and the true labels of examples to the best margins (thresholds,).
Choose = Callable[[Array, Array], Array]


class Decisions:
    """Reads the logits of a classifier, and chooses how.

    Args:
        threshold: the least probability, or "tune".
        calibrates: whether to choose a temperature.
        has_several: whether an example has several labels, or none.
        choose: chooses margins, which are logits, or of two labels the second one minus the first. It has to
            be set before anything is read with thresholds to choose.
    """

    choose: Choose

    def __init__(self, threshold: float | str, calibrates: bool, has_several: bool) -> None:
        self._tunes, self._calibrates = threshold == TUNE, calibrates
        self._has_several = has_several
        given = None if threshold in (TUNE, 0.5) else [float(threshold)]
        self._settled = Decision(thresholds=given)
        self._latest: tuple[Any, tuple[Array, Array]] | None = None

    def adopt(self, config: Any) -> None:
        """Read as the exported model with this config."""
        if getattr(config, KEY, None):
            self._settled = Decision.of(config)

    def settle(self, logits: Sequence[Any], true: Any, inputs: Iterable[Any]) -> dict[str, Any]:
        """Choose on the examples of a split; returns the entry of the exported model's config, if any."""
        if self._chooses:
            made = self._chosen(np.asarray(logits, dtype=float), np.asarray(true))
            chosen_on = digest(sorted(keys_of(inputs, true)))
            self._settled = Decision(made.temperature, made.thresholds, chosen_on)
        if self._settled == Decision():
            return {}
        thresholds = self._settled.thresholds
        return {KEY: {**vars(self._settled), "thresholds": thresholds and list(thresholds)}}

    def read(self, logits: Sequence[Any], true: Any, inputs: Iterable[Any]) -> tuple[Array, Array]:
        """Probabilities and labels of a split; by cross-fitting if the choice is, or would be, made on it.

        Args:
            logits: (examples, labels).
            true: the ids of the true labels, or 0 and 1 for each label.
            inputs: what the model was asked.
        """
        if self._latest is None or self._latest[0] is not logits:
            self._latest = logits, self._read(np.asarray(logits, dtype=float), true, inputs)
        return self._latest[1]

    def remarks(self) -> list[str]:
        """What a reader of the scores has to know."""
        if not self._settled.chosen_on:
            return []
        thresholds = self._settled.thresholds or ()
        temperature = self._settled.temperature
        at_limit = min(abs(np.log(temperature / np.array(TEMPERATURES)))) < 0.01
        limit = " (as far as is tried)" if at_limit else ""
        chosen = [f"temperature {temperature:.4g}{limit}"] if self._calibrates else []
        if self._tunes:
            chosen.append(f"threshold {', '.join(f'{t:.4g}' for t in thresholds):.60}")
        return [
            f"{' and '.join(chosen)} chosen on validation, which is scored by cross-fitting: each of {PARTS} parts "
            "with what was chosen on the others; other data that share examples with it look too good"
        ]

    @property
    def _chooses(self) -> bool:
        return self._tunes or self._calibrates

    def _read(self, values: Array, true: Any, inputs: Iterable[Any]) -> tuple[Array, Array]:
        keys = keys_of(inputs, true) if self._chooses else []
        parts = parts_of(keys)
        is_other = self._settled.chosen_on not in ("", digest(sorted(keys)))
        if is_other or not parts.any():
            probabilities = self._settled.probabilities(values, self._has_several)
            return probabilities, self._settled.labels(probabilities, self._has_several)
        probabilities, labels = np.empty_like(values), np.empty(np.shape(true), dtype=int)
        for part in np.unique(parts):
            own = parts == part
            made = self._chosen(values[~own], np.asarray(true)[~own])
            probabilities[own] = made.probabilities(values[own], self._has_several)
            labels[own] = made.labels(probabilities[own], self._has_several)
        return probabilities, labels

    def _chosen(self, logits: Array, true: Array) -> Decision:
        """What is chosen on some examples."""
        temperature = self._temperature(logits, true) if self._calibrates else 1.0
        if not self._tunes:
            return Decision(temperature, self._settled.thresholds)
        margins = logits if self._has_several else logits[:, 1:] - logits[:, :1]
        return Decision(temperature, expit(self.choose(margins, true) / temperature).tolist())

    def _temperature(self, logits: Array, true: Array) -> float:
        """The temperature with the greatest likelihood (Guo et al., 2017, https://arxiv.org/abs/1706.04599)."""

        def surprise(logarithm: float) -> float:
            scaled = logits / np.exp(logarithm)
            if self._has_several:
                return float(np.logaddexp(0, np.where(true == 1, -scaled, scaled)).mean())
            return -float(np.take_along_axis(log_softmax(scaled, axis=1), true[:, None], 1).mean())

        found = minimize_scalar(surprise, bounds=np.log(TEMPERATURES), method="bounded")
        return float(np.exp(found.x))


def keys_of(inputs: Iterable[Any], true: Any) -> list[str]:
    """What tells each example from others, however and in whatever order they are stored."""
    return [digest(pair) for pair in zip(inputs, np.asarray(true).tolist(), strict=True)]


def parts_of(keys: Sequence[str]) -> Array:
    """The number of the part that each example is in; equal examples are in one part.

    The labels do not count: if they were shared out evenly, what is chosen on the others would know the shares
    of the labels in a part, and the scores would be too good.
    """
    different, which = np.unique(keys, return_inverse=True)
    return (np.random.default_rng(0).permutation(len(different)) % PARTS)[which]


def candidates(margins: Array, true: Array) -> Array:
    """The margins that may be best as a threshold, first 0, and then those near 0.

    Nothing but a threshold between an example without the label and the next one, which has it, can be best for a
    score that gains by right labels.

    Args:
        margins: (examples,)
        true: 0 and 1.
    """
    values, which = np.unique(margins, return_inverse=True)
    counts = np.bincount(which, true), np.bincount(which, 1 - true)
    rises = (counts[1][:-1] > 0) & (counts[0][1:] > 0)
    between = np.concatenate(
        [[values[0] - 1], ((values[1:] + values[:-1]) / 2)[rises], [values[-1] + 1]]
    )
    if len(between) > MOST:
        between = between[np.linspace(0, len(between) - 1, MOST).round().astype(int)]
    return np.array([0.0, *between[np.argsort(np.abs(between), kind="stable")]])


def choose_for(score: str, metrics: Mapping[str, Any], arguments: Mapping[str, Any]) -> Choose:
    """A function that chooses the threshold between two labels by which a score is best.

    Args:
        score: its name, such as f1.
        metrics: those on the ids of labels.
        arguments: further ones, for the metrics that take them.

    Raises:
        UserError: no metric has a score of this name.
    """
    metric = _owner(score, metrics, arguments, [0, 1])
    said = metric.direction if isinstance(metric.direction, str) else metric.direction[score]
    sign = {MINIMIZE: -1.0, MAXIMIZE: 1.0}[said]

    def scored(labels: Array, true: Array) -> float:
        if hasattr(metric, "statistics"):
            made = metric.statistics(labels, true, **taken_by(metric.statistics, arguments))
            return float(made.resampled(np.ones((1, len(labels))))[score][0])
        further = taken_by(metric._compute, arguments)
        return float(metric._compute(labels.tolist(), true.tolist(), **further)[score])

    def choose(margins: Array, true: Array) -> Array:
        tried = candidates(margins[:, 0], true)
        made = [scored((margins[:, 0] >= threshold).astype(int), true) for threshold in tried]
        return tried[[np.nan_to_num(sign * np.array(made), nan=-np.inf).argmax()]]

    return choose


def choose_for_several(
    score: str, metrics: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Choose:
    """The same for the thresholds of several labels, one after the other until none changes any more.

    The score has to be one of `MultiLabel`, which is a function of counts of each label. Raises UserError.
    """
    counting = {name: metric for name, metric in metrics.items() if isinstance(metric, MultiLabel)}
    number = len(arguments["label_names"])
    metric = _owner(score, counting, arguments, [[1] * number])

    def choose(margins: Array, true: Array) -> Array:
        best = np.zeros(number)
        for _ in range(ROUNDS):
            before = best.copy()
            for label in range(number):
                tried = candidates(margins[:, label], true[:, label])
                options = margins[:, label] >= tried[:, None]
                right = np.delete((margins >= best) == true, label, axis=1).all(1)
                counts = metric.statistics(margins >= best, true, **of_metric)
                sums = np.tile(counts.values.sum(0), (len(tried), 1))
                sums[:, label] = options @ true[:, label]
                sums[:, number + label] = options.sum(1)
                sums[:, 3 * number] = ((options == true[:, label]) & right).sum(1)
                values = np.nan_to_num(counts.scores(sums)[score], nan=-np.inf)
                best[label] = tried[values.argmax()]
            if np.array_equal(best, before):
                break
        return best

    of_metric = taken_by(metric.statistics, arguments)
    return choose


def _owner(
    score: str, metrics: Mapping[str, Any], arguments: Mapping[str, Any], example: list[Any]
) -> Any:
    """The metric that gives a score; `example` holds labels that it can be tried on."""
    known: dict[str, Any] = {}
    for metric in metrics.values():
        further = taken_by(metric._compute, arguments)
        known |= dict.fromkeys(metric._compute(example, example, **further), metric)
    if score not in known:
        raise UserError(
            f"task.tune_for={score!r}: is no score for which a threshold can be chosen; {nearest(score, known)}"
        )
    return known[score]
