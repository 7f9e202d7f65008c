"""Whether speed costs quality: the same fine-tuning with expkit's defaults and with the fp32 script.

python -m benchmarks.quality --data FOLDER
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import material
from benchmarks.contest import measured
from expkit.config.project import output_dir

LEARNING_RATE, EPOCHS = "5e-5", "2"


def main() -> None:
    """MRPC's F1 for some seeds of both; ours may be one standard deviation below, not more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with mrpc/*.jsonl")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    data = material.files("text_classification", output_dir(), given.data.resolve())
    scores: dict[str, list[float]] = {}
    for name, command in (("expkit", expkit), ("fp32 reference", reference)):
        scores[name] = [_f1(command, data, seed) for seed in given.seeds]
        shown = ", ".join(f"{score:.4f}" for score in scores[name])
        print(f"{name}: F1 {shown}; mean {statistics.mean(scores[name]):.4f}", flush=True)
    allowed = statistics.stdev(scores["fp32 reference"])
    lost = statistics.mean(scores["fp32 reference"]) - statistics.mean(scores["expkit"])
    print(f"lost {lost:.4f}, allowed {allowed:.4f}: {'yes' if lost <= allowed else 'NO'}")
    sys.exit(lost > allowed)


def _f1(
    command: Callable[[material.Files, int, Path], list[str]], data: material.Files, seed: int
) -> float:
    with tempfile.TemporaryDirectory(prefix="expkit-bench-") as folder:
        return measured(command(data, seed, Path(folder)), Path(folder))["eval/f1"]


def expkit(data: material.Files, seed: int, folder: Path) -> list[str]:
    """All weights, everything else by default."""
    return [
        *(sys.executable, "-m", "benchmarks.expkit_run", str(folder), "lora=none"),
        *data.overrides,
        *(f"optimizer.lr={LEARNING_RATE}", f"train.epochs={EPOCHS}", f"seed={seed}"),
    ]


def reference(data: material.Files, seed: int, folder: Path) -> list[str]:
    """The usual script with dynamic padding."""
    return [
        *data.script("text_classification", material.MINILM, "dynamic", folder),
        *("--lr", LEARNING_RATE, "--epochs", EPOCHS, "--seed", str(seed)),
    ]


if __name__ == "__main__":
    main()
