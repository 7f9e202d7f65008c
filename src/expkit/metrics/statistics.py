"""Scores of many sets of examples at once, from numbers that can be summed over examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Statistics:
    """Numbers of each item whose sums over a set of items decide the scores of that set.

    A metric that has them offers `statistics(predictions, references)`; the sums over all items
    give the scores of its `compute`.

    Attributes:
        values: (items, statistics), an array or a sparse one.
        scores: from sums (sets, statistics) to scores by name, each (sets,). A score that is not
            defined for a set counts as `compute` counts it, or as 0.
    """

    values: Any
    scores: Callable[[np.ndarray], Scores]

    def of_examples(self, examples: np.ndarray, count: int) -> "Statistics":
        """Summed over the items of each example.

        Args:
            examples: (items,) the number of the example that an item belongs to, below `count`.
        """
        ones = np.ones(len(examples))
        groups = csr_array((ones, (examples, np.arange(len(examples)))), (count, len(examples)))
        return Statistics(groups @ self.values, self.scores)

    def resampled(self, weights: np.ndarray) -> Scores:
        """The scores of sets that hold each item so many times; `weights` is (sets, items)."""
        return self.scores(weights @ self.values)


def mean(name: str, values: Any) -> Statistics:
    """The statistics of a score that is the mean of a number of each item."""
    pairs = np.stack([values, np.ones(len(values))], axis=1)
    return Statistics(pairs, lambda sums: {name: share(sums[:, 0], sums[:, 1])})


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, and 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
