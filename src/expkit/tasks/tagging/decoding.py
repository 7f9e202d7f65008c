"""The most probable tags of a sentence of which BIO allows the order."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from expkit.tasks.tagging.tags import OUTSIDE


def certain(labels: Sequence[str], label: int, words: int) -> np.ndarray:
    """Log-probabilities (words, labels) of words that have one label for certain; float32."""
    scores = np.full((words, len(labels)), -np.inf, np.float32)
    scores[:, label] = 0
    return scores


def most_probable(scores: np.ndarray, labels: Sequence[str]) -> list[int]:
    """The ids of the sequence of tags with the largest sum of scores in which no I- begins an entity.

    It is found by Viterbi's algorithm (https://doi.org/10.1109/TIT.1967.1054010), and all transitions that
    BIO allows count the same.

    Args:
        scores: log-probabilities (words, labels).
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


@lru_cache(maxsize=8)
def _transitions(labels: Sequence[str]) -> np.ndarray:
    """0 where a tag (column) may follow another (row), −∞ where an I- would not continue its type."""
    allowed = [
        [not tag.startswith("I-") or before in (tag, f"B-{tag[2:]}") for tag in labels]
        for before in labels
    ]
    return np.where(allowed, 0.0, -np.inf)
