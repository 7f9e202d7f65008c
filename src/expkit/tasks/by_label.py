"""How well each of several labels is found, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit.metrics.pictures import label
from expkit.tasks.confusion import LABEL_LIMIT, MOST


def draw_by_label(scores: Mapping[str, Sequence[Any]], file: Path) -> None:
    """F1 as a bar for each label, and how many examples have it; of many labels the most frequent ones."""
    from matplotlib.figure import Figure

    rows = zip(scores["support"], scores["f1"], scores["label"], strict=True)
    shown = sorted(rows, key=lambda row: -row[0])[:MOST]
    figure = Figure(figsize=(7.0, 0.3 * len(shown) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(range(len(shown)), [f1 for _, f1, _ in shown])
    axes.bar_label(bars, [f"{f1:.2f}" for _, f1, _ in shown], padding=3)
    names = [f"{label(name, LABEL_LIMIT)} ({support:,})" for support, _, name in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("F1; behind each label the number of examples that have it")
    if len(shown) < len(scores["label"]):
        figure.suptitle(f"the {len(shown)} most frequent of {len(scores['label']):,} labels")
    figure.savefig(file, dpi=120)
