"""Pictures of labels: which are taken for which others, and how well each of several is found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from expkit.metrics.pictures import label

MOST = 40  # labels in a picture; of more, those that are confused most
LABEL_LIMIT = 40  # characters

Names = Sequence[str]


def draw_confusion(
    true: Names, predicted: Names, labels: Names, file: Path, *, shares: bool = False
) -> None:
    """The confusion matrix, true labels in rows; with `shares` of all items of a row."""
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    counts = Counter(zip(true, predicted, strict=True))
    shown = labels if len(labels) <= MOST else _most_confused(counts, labels)
    cells = np.array([[counts[row, column] for column in shown] for row in shown])
    if shares:
        of_row = Counter(true)
        cells = cells / [[max(of_row[row], 1)] for row in shown]
    size = max(4.0, 0.7 * len(shown) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    if shown is not labels:
        figure.suptitle(f"the {len(shown)} of {len(labels):,} labels that are confused most")
    ConfusionMatrixDisplay(cells, display_labels=[label(n, LABEL_LIMIT) for n in shown]).plot(
        ax=figure.add_subplot(),
        cmap="Blues",
        colorbar=False,
        values_format=".2f" if shares else "d",
        xticks_rotation="vertical",
    )
    figure.savefig(file, dpi=120)


def draw_by_label(scores: Mapping[str, Sequence[Any]], file: Path) -> None:
    """F1 as a bar for each label, and how many examples have it; of many labels the most frequent ones."""
    from matplotlib.figure import Figure

    rows = sorted(zip(scores["support"], scores["f1"], scores["label"], strict=True), reverse=True)
    shown = rows[:MOST][::-1]
    figure = Figure(figsize=(7.0, 0.3 * len(shown) + 1.2), layout="constrained")
    axes = figure.add_subplot(xlim=(0, 1.1), xlabel="F1 (in brackets: examples)")
    bars = axes.barh(
        [f"{label(n, LABEL_LIMIT)} ({k:,})" for k, _, n in shown], [r[1] for r in shown]
    )
    axes.bar_label(bars, fmt="%.2f")
    figure.savefig(file, dpi=120)


def _most_confused(counts: Counter[tuple[str, str]], labels: Names) -> list[str]:
    """The labels of the pairs that are confused most often, the most frequent pair first."""
    pairs = [pair for pair, _ in counts.most_common() if pair[0] != pair[1]]
    return list(dict.fromkeys([*chain.from_iterable(pairs), *labels]))[:MOST]
