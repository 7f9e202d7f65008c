"""A picture that fails or takes long is left out; names are drawn as they are written."""

from pathlib import Path
from threading import Event

import matplotlib.figure  # noqa: F401 - which takes time under load
import pytest
from mlflow import MlflowClient

from expkit.metrics import pictures
from expkit.metrics.pictures import draw_plainly, drawn, label
from expkit.tasks.interface import Report
from expkit.tracking.run import open_run
from expkit.tracking.writer import Run

SETTINGS = {"uri": None, "experiment": "x"}
NAMES = ["$x$", "_hidden", "a_b^{", "中文", "$\\frac{", "x" * 500, "two\nlines", "$5 and $6"]


def fails(file: Path) -> None:
    file.write_bytes(b"half")
    raise ValueError("no room\nfor more")


def test_a_run_ends_well_whatever_its_pictures_do(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "LONGEST", 5.0)
    over = Event()
    figures = {
        "failing": fails,
        "endless": lambda file: over.wait(),
        "A/B": lambda file: file.write_bytes(b"a"),
        "../A+B": lambda file: file.write_bytes(b"b"),
    }
    with open_run(SETTINGS, "run", {}, resume="never") as tracked:
        assert isinstance(tracked, Run)
        tracked.start()
        tracked.log_report(Report({"t": {"a": [1]}}, figures, {"R&D": "1", "R+D": "2"}), "eval")
        assert "picture" not in capsys.readouterr().out, "pictures wait until all else is logged"
        tracked.draw()
        over.set()
    shown = capsys.readouterr().out
    assert "picture failing.png is left out: ValueError: no room\n" in shown
    assert "picture endless.png is left out: it was not ready after 5 s\n" in shown
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    run = client.get_run(tracked.id)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["R_x0026_D"], run.data.tags["R_x002B_D"]) == ("1", "2")
    logged = {file.path for file in client.list_artifacts(tracked.id, "eval")}
    kept = {"eval/A_x002F_B.png", "eval/_x002E_._x002F_A_x002B_B.png"}
    assert logged == {"eval/t.json", *kept}


def test_a_formula_is_text(tmp_path: Path) -> None:
    def draw_texts(file: Path) -> None:
        from matplotlib.figure import Figure

        figure = Figure()
        for name in NAMES:
            figure.text(0.5, 0.5, label(name))
        figure.savefig(file)

    assert drawn(draw_texts, tmp_path / "a.png")
    with pytest.raises(ZeroDivisionError):
        draw_plainly(lambda file: 1 / 0, tmp_path / "b.png")


def test_a_long_label_keeps_both_ends() -> None:
    assert label("a" * 60 + "b" * 60, 40) == "a" * 20 + "…" + "b" * 19
    assert label("a\n b", 40) == "a b"
