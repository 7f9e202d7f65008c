"""From logits to probabilities and labels, with a temperature and thresholds that are chosen on validation data.

What is chosen on examples looks too good on them. So their own scores come from cross-fitting: the examples are
divided into parts, and each part is read with what was chosen on all the others. Any other data, and the
exported model, are read with what was chosen on all of these examples.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from expkit.config.direction import MAXIMIZE, MINIMIZE
from expkit.metrics.multilabel import MultiLabel
from expkit.metrics.outcomes import digest, taken_by
from expkit.terminal.errors import UserError, nearest

Array = np.ndarray
TUNE = "tune"  # as a threshold
KEY = "decision"  # in the config of an exported model
PARTS = 10
ROUNDS = 5  # over all labels, at most
MOST = 200  # thresholds that are tried
TEMPERATURES = (0.05, 20.0)  # the lowest and the highest

# From margins and the label of each example to the best margin for each set of examples, (sets, thresholds).
Choose = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Decision:
    """How logits are read.

    Attributes:
        thresholds: the least probability of label 1 of two, or of each of several labels; None: the most
            probable label is taken, or each label with a probability of at least 0.5.
        chosen_on: the digest of the examples that both were chosen on; empty if they were given.
    """

    temperature: float = 1.0
    thresholds: Sequence[float] | None = None
    chosen_on: str = ""

    @classmethod
    def of(cls, config: Any) -> "Decision":
        """What `settle` has put into the config of an exported model."""
        return cls(**(getattr(config, KEY, None) or {}))

    def probabilities(self, logits: Any, has_several: bool) -> Array:
        """The probabilities of the labels, each by itself if an example has several of them."""
        scaled = np.asarray(logits, dtype=float) / self.temperature
        return np.asarray(expit(scaled) if has_several else softmax(scaled, axis=-1))

    def labels(self, probabilities: Array, has_several: bool) -> Array:
        """The ids of the labels (examples,), or 0 and 1 for each (examples, labels) if there are several."""
        if has_several:
            thresholds = 0.5 if self.thresholds is None else np.asarray(self.thresholds)
            return (probabilities >= thresholds).astype(int)
        if self.thresholds is None:
            return probabilities.argmax(-1)
        return (probabilities[..., 1] >= self.thresholds[0]).astype(int)


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
            whole = np.ones((1, len(logits)), dtype=bool)
            made = self._chosen(np.asarray(logits, dtype=float), np.asarray(true), whole)[0]
            self._settled = Decision(made.temperature, made.thresholds, _digest(inputs, true))
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
        chosen = [f"temperature {self._settled.temperature:.4g}"] if self._calibrates else []
        if self._tunes:
            chosen.append(f"threshold {', '.join(f'{t:.4g}' for t in thresholds):.60}")
        return [
            f"{' and '.join(chosen)} chosen on validation, which is scored by cross-fitting: each of {PARTS} parts "
            "with what was chosen on the others"
        ]

    @property
    def _chooses(self) -> bool:
        return self._tunes or self._calibrates

    def _read(self, values: Array, true: Any, inputs: Iterable[Any]) -> tuple[Array, Array]:
        chosen_on = self._settled.chosen_on
        is_other = chosen_on and chosen_on != _digest(inputs, true)
        if not self._chooses or is_other or len(values) < 2:
            probabilities = self._settled.probabilities(values, self._has_several)
            return probabilities, self._settled.labels(probabilities, self._has_several)
        parts = parts_of(len(values))
        others = parts != np.arange(parts.max() + 1)[:, None]
        probabilities, labels = np.empty_like(values), np.empty(np.shape(true), dtype=int)
        for part, made in enumerate(self._chosen(values, np.asarray(true), others)):
            own = parts == part
            probabilities[own] = made.probabilities(values[own], self._has_several)
            labels[own] = made.labels(probabilities[own], self._has_several)
        return probabilities, labels

    def _chosen(self, logits: Array, true: Array, sets: Array) -> list[Decision]:
        """What is chosen on each of several sets of examples, (sets, examples)."""
        temperatures, thresholds = np.ones(len(sets)), [self._settled.thresholds] * len(sets)
        if self._calibrates:
            temperatures = np.array([self._temperature(logits[s], true[s]) for s in sets])
        if self._tunes:
            margins = logits if self._has_several else logits[:, 1:] - logits[:, :1]
            best = self.choose(margins, true, sets)
            thresholds = expit(best / temperatures[:, None]).tolist()
        return list(map(Decision, temperatures.tolist(), thresholds))

    def _temperature(self, logits: Array, true: Array) -> float:
        """The temperature with the greatest likelihood (Guo et al., 2017, https://arxiv.org/abs/1706.04599)."""

        def surprise(logarithm: float) -> float:
            scaled = logits / np.exp(logarithm)
            if self._has_several:
                return float(np.logaddexp(0, np.where(true == 1, -scaled, scaled)).mean())
            return -float(np.take_along_axis(log_softmax(scaled, axis=1), true[:, None], 1).mean())

        found = minimize_scalar(surprise, bounds=np.log(TEMPERATURES), method="bounded")
        return float(np.exp(found.x))


def _digest(inputs: Iterable[Any], true: Any) -> str:
    """What tells examples from others, however they are stored."""
    return digest([*inputs, np.asarray(true).tolist()])


def parts_of(count: int) -> Array:
    """The number of the part that each of `count` examples is in.

    The labels do not count: if they were shared out evenly, what is chosen on the others would know the shares
    of the labels in a part, and the scores would be too good.
    """
    return np.random.default_rng(0).permutation(count) % PARTS


def candidates(margins: Array) -> Array:
    """Thresholds between neighbouring margins, and beyond the first and the last, those near 0 first."""
    values = np.unique(margins)
    between = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    if len(between) > MOST:
        between = between[np.linspace(0, len(between) - 1, MOST).round().astype(int)]
    return between[np.argsort(np.abs(between), kind="stable")]


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
    sign = _sign(metric, score)

    def choose(margins: Array, true: Array, sets: Array) -> Array:
        tried = candidates(margins)
        made = (_of_sets(metric, score, margins[:, 0] >= t, true, sets, arguments) for t in tried)
        values = np.nan_to_num(sign * np.array(list(made)), nan=-np.inf)
        return tried[values.argmax(axis=0)][:, None]

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

    def of_set(margins: Array, true: Array) -> Array:
        best = np.zeros(number)
        for _ in range(ROUNDS):
            before = best.copy()
            for label in range(number):
                tried = candidates(margins[:, label])
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
    return lambda margins, true, sets: np.stack([of_set(margins[s], true[s]) for s in sets])


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


def _sign(metric: Any, score: str) -> float:
    said = metric.direction if isinstance(metric.direction, str) else metric.direction[score]
    return {MINIMIZE: -1.0, MAXIMIZE: 1.0}[said]


def _of_sets(
    metric: Any, score: str, labels: Array, true: Array, sets: Array, arguments: Mapping[str, Any]
) -> Array:
    """The score of each of several sets of examples."""
    if hasattr(metric, "statistics"):
        further = taken_by(metric.statistics, arguments)
        made = metric.statistics(labels.astype(int), true, **further)
        return np.asarray(made.resampled(sets.astype(float))[score])
    further = taken_by(metric._compute, arguments)
    pairs = ((labels[s].astype(int).tolist(), true[s].tolist()) for s in sets)
    return np.array([metric._compute(*pair, **further)[score] for pair in pairs])
