"""How many threads the jobs of a sweep get."""

from typing import Any

import pytest

from expkit.sweeps import grid


@pytest.mark.parametrize(
    ("launcher", "options", "share"),
    [
        ("BasicLauncher", {}, None),
        ("JoblibLauncher", {"n_jobs": 2}, 4),
        ("JoblibLauncher", {"n_jobs": -1}, 2),
        ("LocalLauncher", {"cpus_per_task": None}, 2),
        ("RayLauncher", {"num_cpus": 3}, 3),
        ("RayLauncher", {"num_cpus": 0.5}, 1),
        ("SlurmLauncher", {"cpus_per_task": 6}, 6),
        ("SlurmLauncher", {"cpus_per_task": None}, None),
    ],
)
def test_of_four_jobs_on_eight_cores(
    launcher: str, options: dict[str, Any], share: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "cores", lambda: 8)
    assert grid.threads({"_target_": f"hydra_plugins.x.{launcher}", **options}, jobs=4) == share
