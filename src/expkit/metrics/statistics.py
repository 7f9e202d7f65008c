"""Compute the scores of many sets of examples at once, from numbers that are summed over examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Statistics:
    """Numbers of each item, whose sums over a set of items decide the scores of that set.

    For F1, for example, they are the counts of right, predicted and true labels. A metric returns them from
    `statistics(predictions, references)`, and their sums over all items give the scores of `compute`.

    Attributes:
        values: an array of (items, statistics), which may be sparse.
        scores: a function from sums (sets, statistics) to scores by name, each (sets,). A score that is not
            defined for a set is what `compute` returns for it, or 0.
    """

    values: Any
    scores: Callable[[np.ndarray], Scores]

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def of_examples(self, examples: np.ndarray, count: int) -> "Statistics":
        """Sum over the items of each of `count` examples; `examples` has an example's number per item."""
        ones = np.ones(len(examples))
        groups = csr_array((ones, (examples, np.arange(len(examples)))), (count, len(examples)))
        return Statistics(groups @ self.values, self.scores)

    def resampled(self, weights: np.ndarray) -> Scores:
        """Return the scores of sets; `weights` (sets, items) says how often a set holds each item."""
        return self.scores(weights @ self.values)


def mean(name: str, values: Any) -> Statistics:
    """The statistics of a score that is the mean of a number of each item."""
    pairs = np.stack([values, np.ones(len(values))], axis=1)
    return Statistics(pairs, lambda sums: {name: share(sums[:, 0], sums[:, 1])})


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return `part / whole`, and 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
