"""How many threads the jobs of a sweep get."""

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.plugins.launcher import Launcher
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

from expkit.processes import cores
from expkit.sweeps import grid
from hydra_plugins.expkit_launchers import LocalLauncher, RayLauncher, SlurmLauncher


@pytest.mark.parametrize(
    ("launcher", "share"),
    [
        (BasicLauncher(), None),
        (JoblibLauncher(n_jobs=2), 4),
        (JoblibLauncher(n_jobs=-1), 2),
        (JoblibLauncher(n_jobs=-7), 4),
        (JoblibLauncher(n_jobs=None), 8),
        (LocalLauncher("", cpus_per_task=None), 2),
        (RayLauncher(None, num_cpus=3, num_gpus=0), 3),
        (RayLauncher(None, num_cpus=0.5, num_gpus=0), 1),
        (SlurmLauncher("", cpus_per_task=6), 6),
        (SlurmLauncher("", cpus_per_task=None), None),
    ],
)
def test_of_four_jobs_on_eight_cores(
    launcher: Launcher, share: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (cores, grid):
        monkeypatch.setattr(module, "cores", lambda: 8)
    assert grid.threads(launcher, jobs=4) == share
