"""What expkit costs on top of a bare loop of PyTorch that does the same arithmetic."""

import sys
from pathlib import Path

from benchmarks import material
from benchmarks.contest import Claim, Contest, Measures, always, measured
from benchmarks.material import Files

TORCH, TRAINER = "torch/times_a_bare_step", "trainer/times_a_bare_step"
ALLOWED = 1.02


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """One of a step, for both backends: they share a process with the bare loop."""
    data = material.files("text_classification", folder, real)
    turns = {
        "expkit": lambda folder: expkit(data, folder),
        "bare loop": always(**{TORCH: 1.0, TRAINER: 1.0}),
    }
    claims = [Claim(measure, "expkit", "bare loop", 1 / ALLOWED) for measure in (TORCH, TRAINER)]
    return [Contest("overhead", turns, claims)]


def expkit(data: Files, folder: Path) -> Measures:
    """Steps of both backends, as multiples of the bare loop's."""
    command = [sys.executable, "-m", "benchmarks.overhead_run", str(folder), "lora=none"]
    return measured([*command, *data.overrides, "optimizer.lr=5e-5", "seed=1"], folder)
