"""From logits to probabilities and labels, with a temperature and thresholds that may have been chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

Array = np.ndarray
KEY = "decision"  # in the config of an exported model


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
