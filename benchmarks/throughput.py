"""Training and evaluation of the four tasks, against scripts written the ordinary way."""

import sys
from pathlib import Path

from benchmarks import material
from benchmarks.contest import Claim, Contest, Measures, Turn, measured
from benchmarks.material import Files

TRAINING, EVALUATION = "train/samples_per_second", "eval/samples_per_second"
STEPS = 30
SEED = 1


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """One for each task."""
    made = {task: material.files(task, folder, real) for task in material.GENERATORS}
    checkpoints = {
        "text_classification": material.MINILM,
        "token_classification": material.MINILM,
        "masked_lm": material.MINILM,
        "translation": material.translation_checkpoint(made["translation"], folder),
    }
    claims = {
        "text_classification": [
            Claim(TRAINING, "expkit", "padded", 4.0),
            Claim(TRAINING, "expkit", "dynamic", 2.0),
            Claim(TRAINING, "expkit", "expert", 1.2),
            Claim(EVALUATION, "expkit", "padded", 5.0),
            Claim(EVALUATION, "expkit", "dynamic", 3.0),
            Claim(EVALUATION, "expkit", "expert", 2.0),
        ],
        "token_classification": [
            Claim(TRAINING, "expkit", "dynamic", 1.8),
            Claim(EVALUATION, "expkit", "dynamic"),
        ],
        "masked_lm": [
            Claim(TRAINING, "expkit", "dynamic", 3.0),
            Claim(EVALUATION, "expkit", "dynamic"),
        ],
        "translation": [
            Claim(TRAINING, "expkit", "dynamic", 1.8),
            Claim(EVALUATION, "expkit", "dynamic", 2.0),
        ],
    }
    steps = {"translation": 20, "masked_lm": 20}
    found = []
    for task, needed in claims.items():
        args = (task, checkpoints[task], made[task], steps.get(task, STEPS))
        turns: dict[str, Turn] = {
            claim.reference: reference(*args, claim.reference) for claim in needed
        }
        found.append(Contest(task, {"expkit": expkit(*args), **turns}, needed))
    return found


def reference(task: str, checkpoint: Path, data: Files, steps: int, variant: str) -> Turn:
    """A script of `benchmarks/references`."""

    def turn(folder: Path) -> Measures:
        command = data.script(task, checkpoint, variant, folder)
        return _rates([*command, "--steps", str(steps), "--seed", str(SEED)], folder)

    return turn


def expkit(task: str, checkpoint: Path, data: Files, steps: int) -> Turn:
    """The same work with expkit, fine-tuning all weights, everything else by default."""

    def turn(folder: Path) -> Measures:
        command = [sys.executable, "-m", "benchmarks.expkit_run", str(folder), f"task={task}"]
        if checkpoint == material.MINILM:
            command += ["model=minilm"]
        else:
            command += ["model=checkpoint", f"model.path={checkpoint}"]
        command += ["lora=none", *data.overrides, "optimizer.lr=5e-5"]
        command += ["train.batch_size=16", f"train.max_steps={steps}", f"seed={SEED}"]
        return _rates(command, folder)

    return turn


def _rates(command: list[str], folder: Path) -> Measures:
    result = measured(command, folder)
    return {name: result[name] for name in (TRAINING, EVALUATION)}
