"""Predict all texts of a file once, by expkit or by a pipeline of transformers, and time it.

python -m benchmarks.predict_run OUT (fp32|bf16|BATCH_SIZE) RUN_ID FILE ANSWERS
"""

import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    """Write texts per second to OUT/result.json."""
    out, turn, run, file, answers = sys.argv[1:]
    work = pipeline if turn.isdigit() else expkit
    seconds = work(turn, run, Path(file), Path(answers))
    with Path(file).open(encoding="utf-8") as lines:
        result = {"texts_per_second": sum(1 for _ in lines) / seconds}
    Path(out, "result.json").write_text(json.dumps(result), encoding="utf-8")


def expkit(precision: str, run: str, file: Path, answers: Path) -> float:
    """What `expkit predict` does once its libraries are imported."""
    import expkit.tasks.text_classification
    import expkit.tracking.model
    import expkit.training.evaluation  # noqa: F401  # so that their time does not count
    from expkit.commands import predict

    given = [run, "--file", str(file), "--out", str(answers), "--probabilities"]
    options = predict.parser().parse_args([*given, "--precision", precision])
    started = time.perf_counter()
    predict.run(options)
    return time.perf_counter() - started


def pipeline(batch_size: str, run: str, file: Path, answers: Path) -> float:
    """The model in a pipeline, which gets the texts from a generator."""
    import transformers
    from transformers.pipelines import text_classification  # noqa: F401  # is imported lazily

    def texts() -> Iterator[str]:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]

    transformers.logging.set_verbosity_error()
    started = time.perf_counter()
    served = transformers.pipeline("text-classification", f"outputs/runs/{run}/model", top_k=None)
    with answers.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["predicted_label", "p_good"])
        settings = {"truncation": True, "max_length": 128}
        for scores in served(texts(), batch_size=int(batch_size), **settings):
            good = next(one["score"] for one in scores if one["label"] == "good")
            writer.writerow([max(scores, key=lambda one: one["score"])["label"], good])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
