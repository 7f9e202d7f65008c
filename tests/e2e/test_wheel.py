"""An installed wheel works outside the checkout."""

import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import CHECKOUT, runs_of

# Each Python that starts notes here, in the folder in which it does, what it tried to reach.
SITE = """import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if isinstance(arguments[-1], tuple) or event != "socket.connect":
            open({sockets!r}, "a").write(f"{{event}} {{arguments}}\\n")
            raise OSError(f"{{event}} is blocked")
sys.addaudithook(refuse)
"""
Shell = Callable[..., str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fresh environment that has the wheel, and no way out; libraries are those of the tests."""
    folder = tmp_path_factory.mktemp("of wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("venv/lib/*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    (site / "sitecustomize.py").write_text(SITE.format(sockets=str(folder / "sockets.txt")))
    return folder


@pytest.fixture
def typed(place: Path) -> Shell:
    """What a line prints in a shell whose environment names no Python."""

    def run(line: str, folder: str = ".") -> str:
        own = {"PATH": "/usr/bin:/bin", "HOME": str(place), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            line, shell=True, cwd=place / folder, capture_output=True, text=True, env=own
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_wheel_carries_the_config_groups(place: Path, typed: Shell) -> None:
    code = "import expkit, expkit.config.project as p; print(expkit.__file__, p.conf_dir())"
    assert re.search(r"/venv/lib/\S+/expkit/conf\n", typed(f'venv/bin/python -c "{code}"'))
    assert "torch.optim.SGD" in typed("venv/bin/expkit --cfg job optimizer=sgd")
    assert list(place.glob("venv/lib/*/site-packages/hydra_plugins/expkit_sweepers.py"))
    assert list(place.glob("venv/lib/*/site-packages/expkit/conf/.schema/config.json"))


@pytest.mark.slow
def test_a_new_project_runs_and_sweeps(place: Path, typed: Shell) -> None:
    """`expkit` is called by its path, and no environment is active."""
    typed("venv/bin/expkit init film-critic")
    project = place / "film-critic"
    assert "│ cost" in typed("make run", "film-critic")
    typed("make test", "film-critic")
    (run,) = runs_of(project)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "Focal minilm lora-attention adamw")
    assert run.data.metrics["final/cost"] < run.data.metrics["baseline/majority_cost"]
    text = "--text 'The soup was awful. The staff was bad.'"
    assert "complaint" in typed(
        f"../../venv/bin/expkit predict {run.info.run_id} {text}", "film-critic/data"
    )
    recipe = project / "conf" / "experiment" / "both.yaml"
    recipe.write_text(
        "# @package _global_\ndefaults:\n  - first\n  - override /model: tiny_bert\n"
        "  - override /hydra/launcher: joblib\n"
        "precision: fp32\ntrain:\n  max_steps: 2\nhydra:\n  launcher:\n    n_jobs: 2\n  sweeper:\n    params:\n      seed: 1,2\n"
    )
    printed = typed("../../venv/bin/expkit -m experiment=both", "film-critic/data")
    assert "2 jobs" in printed
    assert [r.info.status for r in runs_of(project)] == ["FINISHED"] * 4
    assert not (place / "sockets.txt").exists()
