"""`expkit predict` beside a pipeline of transformers, on the same 20,000 real sentences with the same model.

python -m benchmarks.predict --data FOLDER

The pipeline gets a generator of texts and a batch size, as its docs say, and the fastest of several sizes
counts. It and expkit take turns. Each loads the model, reads the file and writes all probabilities; the import
of the libraries does not count. With OMP_NUM_THREADS=2, all of them use two cores.
"""

import argparse
import csv
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.contest import Measures, execute, measured
from expkit.training.precision import has_fast_bf16

SENTENCES = ("movies_train", "movies_validation", "amazon")
COUNT = 20_000
FASTER = {"fp32": 1.5, "bf16": 3.0}  # times as fast as the pipeline in fp32
ALIKE = {"fp32": 1.0, "bf16": 0.995}  # share of the labels
CLOSE = 1e-5  # of the probabilities in fp32


def main() -> None:
    """Print the rates, their ratios, and how far the answers agree; end with 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with sentiment/*.jsonl")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--steps", type=int, default=60, help="of the training before")
    given = parser.parse_args()
    wanted = [name for name in FASTER if name == "fp32" or has_fast_bf16()]
    turns = [*wanted, *map(str, given.batch_sizes)]
    with tempfile.TemporaryDirectory(prefix="expkit-bench-") as place:
        folder = Path(place)
        run, file = _trained(given.data.resolve(), given.steps, folder), _sentences(given, folder)
        found = {turn: _turn(turn, run, file, folder) for turn in turns}
        answers = {turn: _answers(folder / f"{turn}.csv") for turn in turns}
    fastest = max(map(str, given.batch_sizes), key=lambda turn: found[turn]["texts_per_second"])
    holds = [_compare(name, fastest, found, answers) for name in wanted]
    sys.exit(not all(holds))


def _trained(data: Path, steps: int, folder: Path) -> str:
    """The id of a run that tells good reviews from bad ones."""
    for name in SENTENCES[:2]:
        records = map(json.loads, (data / "sentiment" / f"{name}.jsonl").open(encoding="utf-8"))
        labelled = (
            {"text": r["text"], "label": "good" if r["score"] > 0 else "bad"} for r in records
        )
        lines = (json.dumps(record) + "\n" for record in labelled)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    files = [f"data.train_file={SENTENCES[0]}.jsonl", f"data.validation_file={SENTENCES[1]}.jsonl"]
    settings = ["task.text_columns=[text]", "lora=none", "optimizer.lr=5e-5", "precision=fp32"]
    limits = [f"train.max_steps={steps}", "data.max_eval_examples=100"]
    execute([sys.executable, "-m", "expkit", "data=files", *files, *settings, *limits], folder)
    (run,) = (path.name for path in (folder / "outputs" / "runs").iterdir())
    return run


def _sentences(given: argparse.Namespace, folder: Path) -> Path:
    """The real sentences, as often as it takes, in a random order."""
    texts = [
        json.loads(line)["text"]
        for name in SENTENCES
        for line in (given.data / "sentiment" / f"{name}.jsonl").open(encoding="utf-8")
    ]
    chosen = (texts * (given.count // len(texts) + 1))[: given.count]
    random.Random(0).shuffle(chosen)
    file = folder / "sentences.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen), encoding="utf-8")
    return file


def _turn(turn: str, run: str, file: Path, folder: Path) -> Measures:
    out = folder / f"{turn}.csv"
    command = [sys.executable, "-m", "benchmarks.predict_run", str(folder), turn, run]
    result = measured([*command, str(file), str(out)], folder)
    what = f"expkit in {turn}" if turn in FASTER else f"the pipeline in batches of {turn}"
    print(f"{what}: {result['texts_per_second']:.0f} texts/s", flush=True)
    return result


def _answers(file: Path) -> list[tuple[str, float]]:
    """The label and the probability of `good` for each text."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [(row["predicted_label"], float(row["p_good"])) for row in csv.DictReader(rows)]


def _compare(
    ours: str,
    other: str,
    found: dict[str, Measures],
    answers: dict[str, list[tuple[str, float]]],
) -> bool:
    ratio = found[ours]["texts_per_second"] / found[other]["texts_per_second"]
    pairs = list(zip(answers[ours], answers[other], strict=True))
    alike = statistics.mean(a == b for (a, _), (b, _) in pairs)
    apart = max(abs(p - q) for (_, p), (_, q) in pairs)
    holds = ratio >= FASTER[ours] and alike >= ALIKE[ours] and (ours != "fp32" or apart < CLOSE)
    print(
        f"expkit in {ours}: {ratio:.2f} times the pipeline in batches of {other} (claimed {FASTER[ours]}); "
        f"{alike:.2%} of the labels alike, probabilities at most {apart:.1e} apart: "
        f"{'yes' if holds else 'NO'}"
    )
    return holds


if __name__ == "__main__":
    main()
