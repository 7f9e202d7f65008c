"""Metrics of entities in sentences, on BIO tags (https://github.com/chakki-works/seqeval)."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from seqeval.metrics import sequence_labeling as conlleval
from seqeval.metrics import v1
from seqeval.scheme import IOB2, Entities

from expkit.metrics.local import LocalMetric
from expkit.metrics.statistics import Scores, Statistics, share
from expkit.terminal.errors import UserError, nearest

Tags = list[list[str]]

OVERALL = ("precision", "recall", "f1", "accuracy")


class SeqEval(LocalMetric):
    """Entities that are found with all their words and the right type, as seqeval counts them.

    Precision, recall and F1 over all types, the share of words with the right tag (accuracy), and
    `f1_<type>` for each type that is in the references or the predictions.

    Args:
        strict: an entity has to start with B-; otherwise, as conlleval does, an I- that continues
            nothing starts one as well.
        names: the overall scores to compute; `f1_<type>` may be added to make it an objective.
    """

    direction = "maximize"
    takes = datasets.Features(
        dict.fromkeys(("predictions", "references"), datasets.Sequence(datasets.Value("string")))
    )

    def __init__(self, strict: bool = False, names: Sequence[str] = OVERALL) -> None:
        unknown = [name for name in names if name not in OVERALL and not name.startswith("f1_")]
        if unknown:
            raise UserError(
                f"names: {unknown[0]!r} is no score of seqeval; "
                f"{nearest(unknown[0], (*OVERALL, 'f1_<type>'))}"
            )
        super().__init__()
        self._strict = strict
        self._names = [name for name in OVERALL if name in names]

    def _compute(self, predictions: Tags, references: Tags) -> dict[str, float]:
        precision, recall, f1, _ = self._scores(references, predictions, average="micro")
        overall = {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "accuracy": float(conlleval.accuracy_score(references, predictions)),
        }
        _, _, by_type, _ = self._scores(references, predictions, average=None)
        types = self._types(references, predictions)
        return {name: overall[name] for name in self._names} | {
            f"f1_{name}": float(value) for name, value in zip(types, by_type, strict=True)
        }

    def _scores(self, references: Tags, predictions: Tags, *, average: str | None) -> Any:
        settings: dict[str, Any] = {"average": average, "zero_division": 0}
        if self._strict:
            settings["scheme"] = IOB2
        module = v1 if self._strict else conlleval
        return module.precision_recall_fscore_support(references, predictions, **settings)

    def _types(self, references: Tags, predictions: Tags) -> list[str]:
        """The types of entity, in the order in which seqeval gives its scores by type."""
        if self._strict:
            return list(v1.unique_labels(references, predictions, IOB2))
        found = (*conlleval.get_entities(references), *conlleval.get_entities(predictions))
        return sorted({kind for kind, _, _ in found})

    def statistics(self, predictions: Tags, references: Tags) -> Statistics:
        """For each type of a sentence: entities found, predicted, true; then right words, words."""
        predicted = list(map(self._entities, predictions))
        true = list(map(self._entities, references))
        types = sorted({kind for found in (*predicted, *true) for kind, _, _ in found})
        both = [p & t for p, t in zip(predicted, true, strict=True)]
        words = [
            [sum(p == t for p, t in zip(*pair, strict=True)), len(pair[0])]
            for pair in zip(predictions, references, strict=True)
        ]
        counts = [_counts_of_types(found, types) for found in (both, predicted, true)]
        values = np.concatenate([*counts, np.asarray(words, dtype=float)], axis=1)
        return Statistics(values, lambda sums: self._scores_of_sums(sums, types))

    def _entities(self, tags: list[str]) -> set[tuple[str, int, int]]:
        """(type, start, end) of each entity of a sentence."""
        if self._strict:
            return {(e.tag, e.start, e.end) for e in Entities([tags], IOB2).entities[0]}
        return set(conlleval.get_entities([tags]))

    def _scores_of_sums(self, sums: np.ndarray, types: Sequence[str]) -> Scores:
        found, predicted, true = np.split(sums[:, :-2], 3, axis=1)
        overall = {
            "precision": share(found.sum(1), predicted.sum(1)),
            "recall": share(found.sum(1), true.sum(1)),
            "f1": share(2 * found.sum(1), (predicted + true).sum(1)),
            "accuracy": share(sums[:, -2], sums[:, -1]),
        }
        by_type = share(2 * found, predicted + true)
        return {name: overall[name] for name in self._names} | {
            f"f1_{name}": by_type[:, column] for column, name in enumerate(types)
        }


def _counts_of_types(
    sentences: Sequence[set[tuple[str, int, int]]], types: Sequence[str]
) -> np.ndarray:
    """(sentences, types)"""
    column = {name: i for i, name in enumerate(types)}
    counts = np.zeros((len(sentences), len(types)))
    for row, entities in enumerate(sentences):
        for kind, _, _ in entities:
            counts[row, column[kind]] += 1
    return counts
