"""How long a command takes until training begins, or until it says what is wrong with it."""

import sys
import time
from pathlib import Path

from benchmarks import material
from benchmarks.contest import Claim, Contest, Measures, Turn, always, execute
from benchmarks.material import Files

ALLOWED = 1.5  # times what importing the libraries and loading the model take
ERROR_WITHIN = 0.7  # seconds
OF_FIRST = "seconds/of_first"
BAD_INPUT = 2  # expkit's exit status for a wrong configuration

LIBRARIES = f"""
import time
import torch, transformers
transformers.AutoModelForSequenceClassification.from_pretrained({str(material.MINILM)!r})
print(time.time())
"""


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """Two up to the first step of training, one of what is answered without torch."""
    data = material.files("text_classification", folder, real)
    pairs = material.many_translations(folder, real)
    expkit = [sys.executable, "-m", "expkit"]
    return [
        Contest(
            "first_step",
            {"expkit": lambda folder: first_step(data, folder), "libraries": libraries},
            [Claim("seconds", "expkit", "libraries", 1 / ALLOWED)],
        ),
        Contest(
            "tokenizer",
            {
                "second run": lambda folder: second_run(pairs, folder),
                "half": always(**{OF_FIRST: 0.5}),
            },
            [Claim(OF_FIRST, "second run", "half", 1.0)],
        ),
        Contest(
            "answers",
            {
                "config error": answer([*expkit, "optimizer.lrr=1"], BAD_INPUT),
                "--cfg job": answer([*expkit, "--cfg", "job"]),
                "--help": answer([*expkit, "--help"]),
                "limit": always(seconds=ERROR_WITHIN),
            },
            [
                Claim("seconds", "config error", "limit", 1.0),
                Claim("seconds", "--cfg job", "limit"),
                Claim("seconds", "--help", "limit"),
            ],
        ),
    ]


def first_step(data: Files, folder: Path) -> Measures:
    """From the command to the first forward pass, with tokens and MLflow's store there already."""
    options = ["lora=none", *data.overrides]
    until_first_step(options, folder)  # leaves them there
    return {"seconds": until_first_step(options, folder)}


def second_run(pairs: Files, folder: Path) -> Measures:
    """What a second run that learns to translate needs until then, as a share of what the first needs.

    The first trains a tokenizer on the data, and finds out which precision is faster.
    """
    options = ["task=translation", *pairs.overrides]
    first, second = (until_first_step(options, folder) for _ in range(2))
    return {OF_FIRST: second / first, "first": first, "second": second}


def until_first_step(options: list[str], folder: Path) -> float:
    """Seconds from the command to the first forward pass of training."""
    file = folder / "started"
    command = [sys.executable, "-m", "expkit", "train.max_steps=1", *options]
    command += ["backend._target_=benchmarks.start_run.FirstStep", f"+backend.file={file}"]
    started = time.time()
    execute(command, folder)
    return float(file.read_text(encoding="utf-8")) - started


def libraries(folder: Path) -> Measures:
    """Importing torch and transformers and loading the model, and nothing else."""
    started = time.time()
    printed = execute([sys.executable, "-c", LIBRARIES], folder)
    return {"seconds": float(printed.splitlines()[-1]) - started}


def answer(command: list[str], status: int = 0) -> Turn:
    """A command from its start to its end."""

    def turn(folder: Path) -> Measures:
        started = time.perf_counter()
        execute(command, folder, status=status)
        return {"seconds": time.perf_counter() - started}

    return turn
