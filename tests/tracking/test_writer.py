"""Metrics arrive complete and in order, and what fails is not kept quiet."""

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from expkit.tracking import store
from expkit.tracking.writer import MetricWriter


def test_everything_has_arrived_when_it_is_closed(project: Path) -> None:
    client = store.connect(None)
    run_id = client.create_run(store.experiment_id(client, "x")).info.run_id
    writer = MetricWriter(client, run_id)
    for step in range(2500):
        writer.log({"train/loss": 1 / (step + 1), "train/rate": step}, step)
    writer.close()
    history = client.get_metric_history(run_id, "train/loss")
    assert [metric.step for metric in history] == list(range(2500))
    assert history[1].value == 0.5


def test_a_failed_request_is_raised(project: Path) -> None:
    writer = MetricWriter(store.connect(None), "no-such-run")
    writer.log({"train/loss": 1.0}, 1)
    with pytest.raises(MlflowException, match="no-such-run"):
        writer.close()
