"""Log to MLflow as expkit does or with MLflow's own functions, and time it.

python -m benchmarks.tracking_run OUT (log_metrics|log_model) (expkit|mlflow)
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import transformers

from benchmarks.material import MINILM
from expkit.terminal.quiet import hush
from expkit.tracking import store
from expkit.tracking.model import REQUIREMENTS, log_model
from expkit.tracking.outbox import Outbox

import mlflow  # isort: skip  # after expkit has turned its telemetry off

CALLS = 200
BETWEEN = 0.01  # seconds from call to call, in which the other thread may work
METRICS = ("loss", "learning_rate", "grad_norm", "samples_per_second")
EXAMPLE = {"text": "A man is eating food.", "text_pair": "A man is eating a piece of bread."}


def main() -> None:
    """Write the measures to OUT/result.json."""
    out, what, who = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    hush()
    client = store.connect(None)
    mlflow.set_experiment(experiment_id=store.experiment_id(client, "benchmark"))
    with mlflow.start_run() as run:
        measures = MEASURED[what, who](run.info.run_id)
        if what == "log_metrics":
            _require_all(client, run.info.run_id)
    (out / "result.json").write_text(json.dumps(measures), encoding="utf-8")


def metrics_by_expkit(run_id: str) -> dict[str, float]:
    """`seconds_in_all` holds the wait at the end of a run besides."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(mlflow.MlflowClient(), run_id, Path(folder))
        outbox.start()
        calls = _timed(outbox.log)
        started = perf_counter()
        outbox.close()
    closing = perf_counter() - started
    return {"seconds_per_call": calls / CALLS, "seconds_in_all": calls + closing}


def metrics_by_mlflow(run_id: str) -> dict[str, float]:
    """Each call returns when its metrics are in the store."""
    calls = _timed(mlflow.log_metrics)
    return {"seconds_per_call": calls / CALLS, "seconds_in_all": calls}


def _timed(log: Callable[[dict[str, float], int], None]) -> float:
    seconds = 0.0
    for step in range(CALLS):
        metrics = {name: float(step) for name in METRICS}
        started = perf_counter()
        log(metrics, step)
        seconds += perf_counter() - started
        time.sleep(BETWEEN)
    return seconds


def _require_all(client: mlflow.MlflowClient, run_id: str) -> None:
    expected = [(step, float(step)) for step in range(CALLS)]
    for name in METRICS:
        history = client.get_metric_history(run_id, name)
        if sorted((metric.step, metric.value) for metric in history) != expected:
            raise RuntimeError(f"{name}: {len(history)} values of {CALLS} arrived, or wrong ones")


def model_by_expkit(run_id: str) -> dict[str, float]:
    """As at the end of each run."""
    started = perf_counter()
    log_model(run_id, str(MINILM), "text-classification", EXAMPLE)
    return {"seconds": perf_counter() - started}


def model_by_mlflow(run_id: str) -> dict[str, float]:
    """With requirements, which MLflow would else find out by loading and running the model."""
    started = perf_counter()
    model, tokenizer = _model()
    served = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    mlflow.transformers.log_model(
        served,
        name="model",
        input_example=EXAMPLE,
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
    )
    return {"seconds": perf_counter() - started}


def _model() -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(MINILM)
    return model, transformers.AutoTokenizer.from_pretrained(MINILM)


MEASURED = {
    ("log_metrics", "expkit"): metrics_by_expkit,
    ("log_metrics", "mlflow"): metrics_by_mlflow,
    ("log_model", "expkit"): model_by_expkit,
    ("log_model", "mlflow"): model_by_mlflow,
}

if __name__ == "__main__":
    main()
