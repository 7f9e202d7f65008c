"""Which labels are confused, as a picture, for few labels and for many."""

import time
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from expkit.metrics.pictures import draw_plainly
from expkit.tasks.confusion import MOST, draw_confusion


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands in the pictures that are drawn."""
    found: list[str] = []
    save = Figure.savefig

    def saved(self: Figure, *args: object, **options: object) -> None:
        save(self, *args, **options)  # type: ignore[arg-type]
        (axes,) = self.axes
        found.extend(text.get_text() for text in [*axes.texts, *axes.get_yticklabels()])
        found.append(axes.get_xlabel())

    monkeypatch.setattr(Figure, "savefig", saved)
    return found


def test_counts_and_shares(tmp_path: Path, texts: list[str]) -> None:
    true, predicted = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    draw_confusion(true, predicted, ["a", "b", "c"], tmp_path / "a.png")
    assert texts[:9] == ["1", "1", "0", "0", "2", "0", "0", "0", "0"]
    texts.clear()
    draw_confusion(true, predicted, ["a", "b", "c"], tmp_path / "a.png", shares=True)
    assert texts[:9] == ["0.50", "0.50", "0.00", "0.00", "1.00", *["0.00"] * 4]


def test_of_many_labels_those_that_are_confused_most(tmp_path: Path, texts: list[str]) -> None:
    labels = [f"intent {n}" for n in range(1_000)]
    true = [*labels, *["intent 70"] * 5, *["intent 99"] * 2]
    predicted = [*labels, *["intent 80"] * 5, *["intent 90"] * 2]
    started = time.process_time()
    draw_confusion(true, predicted, labels, tmp_path / "a.png")
    assert time.process_time() - started < 60  # a matrix of all takes minutes and all memory
    assert texts[: MOST + 5] == ["1", "5", *["0"] * (MOST - 2), "0", "1", "0", "0", "0"]
    assert texts[-MOST - 1 : -MOST + 4] == [f"intent {n}" for n in (70, 80, 99, 90, 0)]


def test_shares_are_of_all_items_of_a_row(tmp_path: Path, texts: list[str]) -> None:
    labels = [str(n) for n in range(MOST + 5)]
    draw_confusion(["7"] * 4, ["8", "7", "44", "44"], labels, tmp_path / "a.png", shares=True)
    assert texts[:3] == ["0.25", "0.50", "0.25"]


@pytest.mark.parametrize("count", [1, 2, MOST, 150])
@pytest.mark.parametrize("shares", [True, False])
def test_any_number_of_labels(tmp_path: Path, count: int, shares: bool) -> None:
    labels = [f"$l_{n}{{ 中" + "x" * 500 for n in range(count)]
    predicted = [*labels[1:], labels[0]]
    draw_plainly(
        lambda file: draw_confusion(labels, predicted, labels, file, shares=shares),
        tmp_path / "a.png",
    )
    assert (tmp_path / "a.png").stat().st_size > 0


def test_many_labels_without_a_confusion(tmp_path: Path, texts: list[str]) -> None:
    labels = [str(n) for n in range(MOST + 1)]
    draw_confusion(labels, labels, labels, tmp_path / "a.png")
    assert texts[-MOST - 1 : -1] == labels[:MOST]
