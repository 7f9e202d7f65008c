"""Read, check and tokenise a file as a run does before its model is built, and measure it.

Usage: python -m benchmarks.preprocess_run OUT TASK TRAIN VALIDATION
"""

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.expkit_run import configuration


def main() -> None:
    """Write seconds per example and the peak of memory in MiB to OUT/result.json."""
    out, task_name, train, validation = sys.argv[1:]
    from transformers import AutoConfig

    from benchmarks.material import MINILM, Files
    from expkit.config.components import make
    from expkit.terminal.quiet import hush
    from expkit.training.prepared import encode

    data = Files(Path(train), Path(validation))
    cfg = configuration([f"task={task_name}", *data.overrides])
    hush()
    config = AutoConfig.from_pretrained(MINILM)
    started = time.perf_counter()
    splits = make(cfg, "data")
    task = make(cfg, "task")
    task.setup(splits)
    tokenizer = make(cfg, "model").tokenizer([])
    tokenizer.model_max_length = task.max_length
    encode(cfg, splits, task, tokenizer, config)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"seconds_per_example": seconds / len(splits.train), "peak_mib": peak}
    Path(out, "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
