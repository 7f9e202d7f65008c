"""Whether `precision=auto` takes the faster of fp32 and bf16, for a large model and for a small one."""

import sys
from pathlib import Path

from benchmarks import material
from benchmarks.contest import Claim, Contest, Measures, Turn, measured
from expkit.training.precision import has_fast_bf16

TRAINING = "train/samples_per_second"
CHOICES = ("auto", "fp32", "bf16")
LEAST = 0.95  # times the rate of the faster one, which drifts by some percent itself

# The small Marian of the README, without its evaluation by beams.
MODELS = {
    "precision_minilm": ("text_classification", ["lora=none"], 40),
    "precision_marian": (
        "translation",
        ["model.hidden_size=192", "model.dropout=0", "task.num_beams=1", "task.max_new_tokens=4"],
        80,
    ),
}
SLOW_STEPS = 4  # in bf16 on a CPU without instructions for it, where a step takes ten times as long


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """One for each model; the tables say which precision was faster, and that auto was as fast."""
    claims = [Claim(TRAINING, "auto", "fp32", LEAST), Claim(TRAINING, "auto", "bf16", LEAST)]
    found = []
    for name, (task, options, steps) in MODELS.items():
        data = material.files(task, folder, real)
        command = [f"task={task}", *data.overrides, *options, "optimizer.lr=5e-5", "seed=1"]
        command.append("data.max_eval_examples=64")
        counts = dict.fromkeys(CHOICES, steps)
        if not has_fast_bf16():
            counts["bf16"] = SLOW_STEPS
        turns = {
            choice: trained([*command, f"precision={choice}", f"train.max_steps={count}"])
            for choice, count in counts.items()
        }
        found.append(Contest(name, turns, claims))
    return found


def trained(overrides: list[str]) -> Turn:
    """A run; what `auto` takes to decide comes before its first step."""

    def turn(folder: Path) -> Measures:
        result = measured(
            [sys.executable, "-m", "benchmarks.expkit_run", str(folder), *overrides], folder
        )
        return {TRAINING: result[TRAINING]}

    return turn
