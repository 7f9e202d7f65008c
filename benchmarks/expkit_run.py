"""One run of expkit as a benchmark wants it: trained and evaluated once, with MLflow, and timed.

python -m benchmarks.expkit_run OUT override ...
"""

import json
import sys
import time
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from expkit.config.project import conf_dir, project_root


def main() -> None:
    """Write the rates of training and evaluation to OUT/result.json."""
    out, cfg = Path(sys.argv[1]), configuration(sys.argv[2:])
    from mlflow import MlflowClient

    from expkit import experiment
    from expkit.terminal.quiet import hush
    from expkit.tracking.run import open_run
    from expkit.training.evaluation import evaluate

    hush()
    with open_run(cfg.tracking, "benchmark", {}, resume="never") as tracked:
        tracked.start()
        prepared = experiment.prepare(cfg)
        experiment.train(cfg, prepared, tracked, None)
        training, data = prepared.training, prepared.eval_sets["validation"]
        started = time.perf_counter()
        scored = evaluate(training.model, prepared.task, data, training.precision)
        seconds = time.perf_counter() - started
    history = MlflowClient().get_metric_history(tracked.id, "train/samples_per_second")
    result = {
        "train/samples_per_second": len(history) / sum(1 / metric.value for metric in history),
        "eval/samples_per_second": len(data.encoded) / seconds,
        **{f"eval/{name}": value for name, value in scored.metrics.items()},
    }
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def configuration(overrides: list[str]) -> DictConfig:
    """What the command line would compose; evaluated only after the last step."""
    OmegaConf.register_new_resolver("project_root", lambda: str(project_root()), replace=True)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", [*overrides, "train.eval_every=1000000000"])


if __name__ == "__main__":
    main()
