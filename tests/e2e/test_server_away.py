"""A real MLflow server that goes away in the middle of a run."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import CHECKOUT, TINY, Command, free_port
from expkit.tracking.outbox import FILE, read

pytestmark = pytest.mark.slow

AWAY = 20.0  # seconds
LONG = (*TINY, "train.log_every=1", "train.eval_every=500", "backend=torch", "run_name=long")


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """One with a store of its own; killed at the end."""
    address = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "served"), "--port", str(port)]
    log = (folder / "server.log").open("a")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 600
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def written(outbox: Path) -> int:
    """Steps that have been logged."""
    return sum(entry["kind"] == "metrics" for entry in read(outbox)) if outbox.exists() else 0


def in_the_middle(project: Path, steps: int, logged: int) -> tuple[subprocess.Popen[str], Path]:
    """A run of so many steps that has logged some of them, and its outbox."""
    process = subprocess.Popen(
        [sys.executable, "-m", "expkit", *LONG, f"train.max_steps={steps}"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found: list[Path] = []
    while not found or written(found[0]) < logged:
        assert process.poll() is None, process.communicate()[0]
        found = list((project / "outputs/runs").glob(f"*/{FILE}"))
        time.sleep(0.1)
    return process, found[0]


def test_stopped_and_started_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on; afterwards every step of every metric is there, and once."""
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    # Long enough for the time without a server on a fast machine too.
    with server(project, port):
        process, outbox = in_the_middle(project, steps=4000, logged=50)
    before = written(outbox)
    time.sleep(AWAY)
    assert process.poll() is not None or written(outbox) > before + 20  # it did not wait
    with server(project, port):
        output = process.communicate(timeout=900)[0]
        assert process.returncode == 0, output
        assert "MLflow does not answer" in output
        assert "MLflow answers again" in output
        client = MlflowClient(f"http://127.0.0.1:{port}")
        run = client.get_run(outbox.parent.name)
        assert run.info.status == "FINISHED"
        for name in ("train/loss", "train/learning_rate", "train/grad_norm"):
            history = client.get_metric_history(run.info.run_id, name)
            assert [metric.step for metric in history] == list(range(1, 4001)), name
        at = [m.step for m in client.get_metric_history(run.info.run_id, "eval/loss")]
        assert at == [*range(500, 4001, 500)]
        assert run.outputs.model_outputs
    assert not outbox.exists()


def test_what_is_left_is_sent_by_sync(
    expkit: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with server(project, port):
        process, outbox = in_the_middle(project, steps=300, logged=20)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert "python -m expkit.sync sends them" in output
    away = expkit(module="expkit.sync")
    assert away.returncode == 1
    assert "no server answers there" in away.stderr
    assert "Traceback" not in away.stderr
    with server(project, port):
        done = expkit(module="expkit.sync")
        assert done.returncode == 0, done.stderr
        client = MlflowClient(f"http://127.0.0.1:{port}")
        run = client.get_run(outbox.parent.name)
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [metric.step for metric in history] == list(range(1, 301))
        assert run.outputs.model_outputs
        names = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {"run.yaml", "eval"} <= names
        again = expkit(module="expkit.sync")
        assert "0 of 0 runs" in again.stdout
