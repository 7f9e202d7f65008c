"""Which labels are taken for which others, as a picture."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from expkit.pictures import label

MOST_LABELS = 40  # in a matrix; of more labels the pairs that are confused most are shown
MOST_PAIRS = 30
LABEL_LIMIT = 40  # characters


def draw_confusion(
    true: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    file: Path,
    *,
    shares: bool = False,
) -> None:
    """The confusion matrix, true labels in rows.

    Args:
        true: the label of each item, one of `labels`.
        predicted: the same.
        shares: whether to show the shares of each row, not counts.
    """
    counts = Counter(zip(true, predicted, strict=True))
    if len(labels) > MOST_LABELS:
        _draw_pairs(counts, len(labels), file)
    else:
        _draw_matrix(counts, labels, file, shares)


def _draw_matrix(
    counts: Counter[tuple[str, str]], labels: Sequence[str], file: Path, shares: bool
) -> None:
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    cells = np.array([[counts[row, column] for column in labels] for row in labels])
    if shares:
        cells = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    size = max(4.0, 0.7 * len(labels) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    ConfusionMatrixDisplay(
        cells, display_labels=[label(name, LABEL_LIMIT) for name in labels]
    ).plot(
        ax=figure.add_subplot(),
        cmap="Blues",
        colorbar=False,
        values_format=".2f" if shares else "d",
        xticks_rotation="vertical",
    )
    figure.savefig(file, dpi=120)


def _draw_pairs(counts: Counter[tuple[str, str]], labels: int, file: Path) -> None:
    """The pairs of a true and another predicted label that occur most often, as bars."""
    from matplotlib.figure import Figure

    wrong = Counter({pair: count for pair, count in counts.items() if pair[0] != pair[1]})
    pairs = wrong.most_common(MOST_PAIRS)
    figure = Figure(figsize=(9, 0.3 * len(pairs) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(pairs)), [count for _, count in pairs])
    names = [" → ".join(label(name, LABEL_LIMIT) for name in pair) for pair, _ in pairs]
    axes.set_yticks(range(len(pairs)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"confusions: {len(pairs)} of {len(wrong):,} pairs, {labels:,} labels")
    figure.savefig(file, dpi=120)
