"""The most probable tags of a sentence of which BIO allows the order."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .tags import OUTSIDE


def outside(labels: Sequence[str]) -> np.ndarray:
    """The log-probabilities (labels,) of a word that is `O` for certain."""
    row = np.full(len(labels), -np.inf, np.float32)
    row[labels.index(OUTSIDE)] = 0
    return row


def most_probable(scores: Sequence[np.ndarray], labels: Sequence[str]) -> list[int]:
    """The ids of the sequence of tags with the largest sum of scores in which no I- begins an entity.

    It is found by Viterbi's algorithm (https://doi.org/10.1109/TIT.1967.1054010), and all transitions that
    BIO allows count the same.

    Args:
        scores: the log-probabilities (labels,) of each word.
        labels: the tags in the order of their ids, among them `O`.
    """
    if not len(scores):
        return []
    may_follow, steps = _transitions(tuple(labels)), []
    best = scores[0] + may_follow[labels.index(OUTSIDE)]  # a sentence begins as after an O
    for row in scores[1:]:
        reached = best[:, None] + may_follow
        steps.append(reached.argmax(0))
        best = reached.max(0) + row
    ids = [int(best.argmax())]
    for step in reversed(steps):
        ids.append(int(step[ids[-1]]))
    return ids[::-1]


def decoded(scores: Sequence[np.ndarray], labels: Sequence[str], decoding: str) -> list[int]:
    """The ids of the tags of a sentence: of the most probable sequence if `decoding` is "valid", else of each word."""
    if decoding == "valid":
        return most_probable(scores, labels)
    return [int(row.argmax()) for row in scores]


@lru_cache(maxsize=8)
def _transitions(labels: Sequence[str]) -> np.ndarray:
    """0 where a tag (column) may follow another (row), −∞ where an I- would not continue its type."""
    allowed = [
        [not tag.startswith("I-") or before in (tag, f"B-{tag[2:]}") for tag in labels]
        for before in labels
    ]
    return np.where(allowed, 0.0, -np.inf)
