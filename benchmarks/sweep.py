"""A sweep of four short jobs against four scripts, one after another."""

import sys
import time
from pathlib import Path

from benchmarks import material
from benchmarks.contest import Claim, Contest, Measures, Turn, execute
from benchmarks.material import Files

RATES = ("1e-5", "2e-5", "3e-5", "5e-5")
STEPS = 30
SEED = 1


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """One: from the start of the first process to the end of the last."""
    data = material.files("text_classification", folder, real)
    turns = {
        "expkit": expkit(data),
        "expkit, joblib": expkit(data, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        "dynamic": lambda folder: scripts(data, folder),
    }
    claims = [
        Claim("seconds", "expkit", "dynamic", 5.0),
        Claim("seconds", "expkit, joblib", "dynamic"),
    ]
    return [Contest("sweep", turns, claims)]


def expkit(data: Files, *launcher: str) -> Turn:
    """One command; each job is evaluated and leaves a run with its model in MLflow."""

    def turn(folder: Path) -> Measures:
        command = [sys.executable, "-m", "expkit", "-m", f"optimizer.lr={','.join(RATES)}"]
        command += ["lora=none", *data.overrides, f"train.max_steps={STEPS}"]
        command += [f"seed={SEED}", *launcher]
        started = time.perf_counter()
        execute(command, folder)
        return {"seconds": time.perf_counter() - started}

    return turn


def scripts(data: Files, folder: Path) -> Measures:
    """A process for each learning rate; each is evaluated, and nothing is kept."""
    command = data.script("text_classification", material.MINILM, "dynamic", folder)
    command += ["--steps", str(STEPS), "--seed", str(SEED)]
    started = time.perf_counter()
    for rate in RATES:
        execute([*command, "--lr", rate], folder)
    return {"seconds": time.perf_counter() - started}
