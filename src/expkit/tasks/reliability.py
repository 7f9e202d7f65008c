"""How often answers are right, by how sure the model is of them, as a picture."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from expkit.metrics.calibration import BINS, binned
from expkit.metrics.statistics import share
from expkit.tasks.interface import Seen


def reliability(seen: Seen) -> dict[str, Callable[[Path], None]]:
    """The picture of what metrics see that need confidences, by its name."""
    predictions, references, _ = seen
    return {"reliability": partial(draw_reliability, predictions, references or [])}


def draw_reliability(
    predictions: Sequence[Sequence[float]], references: Sequence[int], file: Path
) -> None:
    """The share of right answers in each bin of confidences, above how many answers are in it.

    Args:
        predictions: [the id of a label, its probability] of each item.
        references: the right ids.
    """
    from matplotlib.figure import Figure

    bins, confidences, right = binned(predictions, references)
    count, sure, correct = (
        np.bincount(bins, weights, BINS) for weights in (None, confidences, right)
    )
    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    left = np.arange(BINS) / BINS
    shape = {"width": 1 / BINS, "align": "edge", "edgecolor": "white"}
    above.bar(left, share(correct, count), **shape, label="right")
    held = count > 0
    above.plot(sure[held] / count[held], correct[held] / count[held], "k.", label="mean confidence")
    above.plot([0, 1], [0, 1], "k--", linewidth=1, label="perfect calibration")
    gap = np.abs(sure - correct).sum() / max(len(bins), 1)
    above.set(ylabel="share that is right", ylim=(0, 1), title=f"ECE {gap:.4f}")
    figure.legend(loc="outside lower center", ncols=3)
    below.bar(left, count, **shape, log=True)
    below.set(xlabel="probability of a label", ylabel="how many", xlim=(0, 1))
    figure.savefig(file, dpi=120)
