"""Options whose packages are not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from expkit.sweeps.launchers.installed import require
from expkit.terminal.errors import ConfigError

# Runs the command with modules that cannot be found.
WITHOUT = """
import sys

for name in {names!r}:
    sys.modules[name] = None
from expkit.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("group", "option", "target", "module", "extra"),
    [
        ("launcher", "joblib", "JoblibLauncher", "hydra_joblib_launcher", "joblib"),
        ("launcher", "submitit_local", "LocalLauncher", "submitit", "submitit"),
        ("launcher", "submitit_slurm", "SlurmLauncher", "submitit", "submitit"),
        ("launcher", "ray", "RayLauncher", "ray", "ray"),
        ("sweeper", "optuna", "OptunaSweeper", "optuna", "optuna"),
    ],
)
def test_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, group: str, option: str, target: str, module: str, extra: str
) -> None:
    require(f"hydra/{group}", option, f"hydra_plugins.x.{target}")
    name = f"hydra_plugins.{module}" if module.startswith("hydra") else module
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"install it: pip install 'expkit\[{extra}\]'"):
        require(f"hydra/{group}", option, f"hydra_plugins.x.{target}")


@pytest.mark.parametrize(
    ("option", "names", "message"),
    [
        (
            "hydra/launcher=joblib",
            ["hydra_plugins.hydra_joblib_launcher"],
            "hydra/launcher=joblib: needs the package hydra-joblib-launcher; install it: "
            "pip install 'expkit[joblib]'",
        ),
        (
            "hydra/sweeper=optuna",
            ["optuna"],
            "hydra/sweeper=optuna: needs the package optuna; install it: "
            "pip install 'expkit[optuna]'",
        ),
    ],
)
def test_the_command_says_so_before_anything_starts(
    project: Path, option: str, names: list[str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=names), "-m", option, "seed=1,2"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (2, f"expkit: {message}\n")
    assert not list((project / "outputs").iterdir())
