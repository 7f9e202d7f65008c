"""Metrics of entities in sentences, on BIO tags."""

import re
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
from seqeval.metrics.sequence_labeling import (
    accuracy_score,
    get_entities,
    precision_recall_fscore_support,
)
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.metrics.v1 import unique_labels
from seqeval.scheme import IOB2

from expkit.errors import UserError, nearest

Tags = list[list[str]]

OVERALL = ("precision", "recall", "f1", "accuracy")


class SeqEval(evaluate.Metric):
    """Entities that are found with all their words and the right type, as seqeval counts them.

    Precision, recall and F1 over all types, the share of words with the right tag (accuracy), and
    `f1_<type>` for each type that is in the references or the predictions.

    Args:
        strict: an entity has to start with B-; otherwise, as conlleval does, an I- that continues
            nothing starts one as well.
        names: the overall scores to compute; `f1_<type>` may be added to make it an objective.
    """

    def __init__(self, strict: bool = False, names: Sequence[str] = OVERALL, **kwargs: Any) -> None:
        unknown = [name for name in names if name not in OVERALL and not name.startswith("f1_")]
        if unknown:
            raise UserError(
                f"names: {unknown[0]!r} is no score of seqeval; "
                f"{nearest(unknown[0], (*OVERALL, 'f1_<type>'))}"
            )
        super().__init__(keep_in_memory=True, **kwargs)
        self._strict = strict
        self._names = [name for name in OVERALL if name in names]

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="https://github.com/chakki-works/seqeval",
            features=datasets.Features({"predictions": tags, "references": tags}),
        )

    def _compute(self, predictions: Tags, references: Tags) -> dict[str, float]:
        precision, recall, f1, _ = self._scores(references, predictions, average="micro")
        overall = {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "accuracy": float(accuracy_score(references, predictions)),
        }
        _, _, by_type, _ = self._scores(references, predictions, average=None)
        types = self._types(references, predictions)
        return {name: overall[name] for name in self._names} | {
            f"f1_{_plain(name)}": float(value) for name, value in zip(types, by_type, strict=True)
        }

    def _scores(self, references: Tags, predictions: Tags, *, average: str | None) -> Any:
        if self._strict:
            return strict_scores(
                references, predictions, average=average, scheme=IOB2, zero_division=0
            )
        return precision_recall_fscore_support(
            references, predictions, average=average, zero_division=0
        )

    def _types(self, references: Tags, predictions: Tags) -> list[str]:
        """In the order of seqeval's scores by type."""
        if self._strict:
            return list(unique_labels(references, predictions, IOB2))
        return sorted({t for tags in (references, predictions) for t, _, _ in get_entities(tags)})


def _plain(name: str) -> str:
    """MLflow takes no other characters in the name of a metric."""
    return re.sub(r"[^\w.\- ]", "_", name)
