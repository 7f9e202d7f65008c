"""The picture of a comparison can be drawn whatever the names are, and however many."""

import warnings
from functools import partial
from pathlib import Path

import matplotlib.figure  # noqa: F401 - which takes time under load
from matplotlib.image import imread

from expkit.comparison.groups import ComparedRun, Group
from expkit.comparison.plot import draw
from expkit.metrics.pictures import drawn

NAMES = ["$x$", "_hidden", "a_b^{", "中文", "$\\frac{", "x" * 500, "two\nlines", "$5 and $6"]


def group(name: str, task: str, objective: str, *values: float) -> Group:
    params = {"task._target_": task, "objective": f"eval/{objective}"}
    jobs = [
        ComparedRun(name, "", "FINISHED", "", params, {f"final/{objective}": v}, {}) for v in values
    ]
    return Group({}, jobs)


def test_names_of_all_kinds_are_drawn(tmp_path: Path) -> None:
    groups = [group(name, f"tasks.{name}", "f1", 0.5, 0.6) for name in NAMES]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(partial(draw, groups, {}), tmp_path / "a.png")


def test_more_names_than_fit_are_left_out(tmp_path: Path) -> None:
    groups = [group(f"job {n}", "tasks.Text", "f1", 0.5) for n in range(1_000)]
    assert drawn(partial(draw, groups, {}), tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[0] < 5_000, "pixels of a picture that can be looked at"
