"""Every task with every backend and optimizer, with and without LoRA, finishes a short run."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import SMALL_TASKS, composed
from expkit.config.checks import check
from expkit.experiment import run
from expkit.metrics.result import final_of

RATES = {"adam": "1e-3", "adamw": "1e-3", "sgd": "1e-2"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.mark.slow
@pytest.mark.parametrize("lora", ["none", "attention"])
@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("backend", ["torch", "trainer"])
@pytest.mark.parametrize("task", SMALL_TASKS)
def test_finishes(
    task: str, backend: str, optimizer: str, lora: str, store: str, project: Path
) -> None:
    cfg = composed(
        *SMALL_TASKS[task],
        f"backend={backend}",
        f"optimizer={optimizer}",
        f"optimizer.lr={RATES[optimizer]}",
        f"lora={lora}",
        "train.max_steps=2",
        "tracking.log_model=false",
        f"tracking.uri={store}",
        f"tracking.experiment={task}",
    )
    check(cfg, [])
    objective = run(cfg, {}).objective
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(task)
    assert experiment is not None
    newest = client.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=1
    )[0]
    metrics = newest.data.metrics
    assert newest.info.status == "FINISHED"
    assert metrics[final_of(cfg.objective)] == pytest.approx(objective)
    assert {"train/loss", "eval/loss", "final/loss"} <= set(metrics)
    assert [name for name in metrics if name.startswith("baseline/")]
    of_lora = {name for name in metrics if name.startswith("lora/")}
    names = {"lora/merge_max_abs_diff", "lora/trainable_parameters"}
    assert of_lora == (names if lora != "none" else set())
