"""Reading and tokenising 10⁴ to 10⁶ examples: linear in time, bounded in memory."""

import json
import sys
from itertools import islice
from pathlib import Path

from benchmarks import material
from benchmarks.contest import Claim, Contest, Measures, Turn, measured

SIZES = {"10^4": 10_000, "10^5": 100_000, "10^6": 1_000_000}
TASK = "text_classification"
LINEAR = 0.9  # how much longer an example may take when there are a hundred times as many
MEMORY = 1 / 1.5


def contests(folder: Path, real: Path | None) -> list[Contest]:
    """Text classification; the files are made on first use."""
    return [
        Contest(
            "preprocessing",
            {name: preprocess(folder, size) for name, size in SIZES.items()},
            [
                Claim("seconds_per_example", "10^6", "10^4", LINEAR),
                Claim("seconds_per_example", "10^6", "10^5", LINEAR),
                Claim("peak_mib", "10^6", "10^5", MEMORY),
            ],
        )
    ]


def preprocess(material_folder: Path, size: int) -> Turn:
    """A process that meets the file for the first time."""

    def turn(folder: Path) -> Measures:
        train, validation = _file(material_folder, size), _file(material_folder, 1000)
        command = [sys.executable, "-m", "benchmarks.preprocess_run", str(folder), TASK]
        return measured([*command, str(train), str(validation)], folder)

    return turn


def _file(folder: Path, size: int) -> Path:
    """The same 10,000 pairs again and again, with a number in front that makes each another one."""
    file = folder / f"pairs-{size}.jsonl"
    if not file.exists():
        records = list(islice(material.pairs("train", 10_000, 0), min(size, 10_000)))
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("w", encoding="utf-8") as lines:
            for i in range(size):
                record = records[i % len(records)]
                lines.write(json.dumps({**record, "sentence1": f"{i} {record['sentence1']}"}))
                lines.write("\n")
        unfinished.rename(file)
    return file
