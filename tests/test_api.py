"""Runs and sweeps from Python: the results of the command line, and a process that stays as it was."""

import hashlib
import importlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import transformers
from datasets import ClassLabel, Dataset, Features, Value
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import expkit as ex
from conftest import SMALL_RUNS, SMALL_TASKS, TINY, Command, runs_of
from expkit.api import _trusted
from expkit.config.project import output_dir
from expkit.data.given import file_of
from expkit.untouched import untouched

SHORT = (*TINY, "train.max_steps=2", "lora=none")
REVIEWS = pd.DataFrame(
    {
        "text": [f"{word} film {i}" for i in range(20) for word in ("good", "bad")],
        "label": ["pos", "neg"] * 20,
    }
)
OF_REVIEWS = (*TINY[:4], "train.max_steps=2", "lora=none", "task.text_columns=[text]")
OF_REVIEWS += ("data.validation_share=0.25",)

# Twelve configurations: each task, what is weighted and tuned, LoRA, backends, optimizers, formats, lengths.
BRIEF = ("train.max_steps=2", "tracking.log_model=false")
CONFIGURATIONS = {
    **{name: (*overrides, *BRIEF) for name, overrides in SMALL_RUNS.items()},
    "lora": (*TINY, "train.max_steps=4", "optimizer=sgd", "scheduler=cosine"),
    "trainer": (*TINY, "train.max_steps=4", "backend=trainer", "train.accumulation=2"),
    "bf16": (*SHORT, "precision=bf16", "seed=7"),
    "text": (*SMALL_TASKS["token_classification"], "run_name=1e3", "train.eval_on_start=true"),
}
RUN_ALL = """
import json, sys
import expkit
for overrides in json.load(sys.stdin):
    expkit.run(*overrides)
"""
RUN_TEN = """
import gc, logging, os, signal, sys, threading, warnings
import psutil, torch
import expkit
def state():
    return (threading.active_count(), dict(os.environ), os.getcwd(), sys.path[:], sys.stdout, sys.excepthook,
            {n: signal.getsignal(n) for n in signal.valid_signals()}, torch.get_num_threads(),
            torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_float32_matmul_precision(),
            logging.root.level, logging.root.handlers[:], logging.getLogger("mlflow").level,
            warnings.filters[:], gc.isenabled(), gc.get_freeze_count())
used = []
for number in range(10):
    before = state() if number else None
    expkit.run(*sys.argv[1:], f"seed={number}")
    assert before in (None, state()), [(a, b) for a, b in zip(before, state()) if a != b]
    gc.collect()
    used.append(psutil.Process().memory_info().rss / 2**20)
print("MORE", used[9] - used[1])
"""


def made(project: Path) -> dict[str, Any]:
    """The fingerprint, the scores and the weights of each run of a project, by its parameters."""
    return {
        json.dumps(sorted(run.data.params.items())): (
            run.data.tags["mlflow.expkit.fingerprint"],
            {k: v for k, v in run.data.metrics.items() if "per_second" not in k},
            hashlib.sha256(
                (project / f"outputs/runs/{run.info.run_id}/model/model.safetensors").read_bytes()
            ).hexdigest(),
            run.data.tags["mlflow.runName"],
        )
        for run in runs_of(project)
    }


@pytest.mark.slow
def test_python_and_the_command_line_give_the_same(
    expkit: Command, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for overrides in CONFIGURATIONS.values():
        done = expkit(*overrides)
        assert done.returncode == 0, done.stderr
    other = tmp_path_factory.mktemp("python")
    (other / "outputs").mkdir()
    subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(list(CONFIGURATIONS.values())),
        text=True,
        cwd=other,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    typed, called = made(project), made(other)
    assert len(typed) == len(CONFIGURATIONS) == 12
    assert called == typed


@pytest.mark.slow
def test_ten_runs_leave_no_trace_in_their_process(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN_TEN, *SHORT],
        text=True,
        cwd=project,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.rpartition("MORE")[2]) < 50


def test_importing_expkit_imports_nothing_else() -> None:
    code = "import sys, expkit; print({'torch', 'mlflow', 'hydra', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        ex.rum  # noqa: B018


def test_a_run_has_all_that_it_has_logged(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with initialize_config_dir(str(project), version_base=None), torch.inference_mode():
        run = ex.run(*SHORT, f"tracking.uri=sqlite:///{project}/own.db")
        assert GlobalHydra.instance().is_initialized()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/own.db")
    assert run.config.train.max_steps == 2
    assert list(run.history().index) == [1, 2]
    assert run.history()["train/loss"].iloc[-1] == run.metrics["train/loss"]
    predictions = run.predictions()
    assert len(predictions) == 32
    mlflow.set_tracking_uri(
        f"sqlite:///{project}/another.db"
    )  # which the run must not take for its own
    records = predictions[["sentence1", "sentence2"]]
    again = run.predict(records)
    assert list(again["predicted_label"]) == list(predictions["predicted"].astype(str))
    typed = run.predict([tuple(records.iloc[0])], probabilities=True)
    assert typed["p_0"][0] + typed["p_1"][0] == pytest.approx(1)
    assert list(typed["predicted_label"]) == list(again["predicted_label"][:1])
    backwards = run.predict(records[:5][::-1])
    assert list(backwards.index) == [4, 3, 2, 1, 0]
    assert backwards["predicted_label"].equals(again["predicted_label"][:5][::-1])
    named = run.predict(records[:2].to_dict("records"))
    assert named["predicted_label"].equals(again["predicted_label"][:2])
    assert run.predict([]).empty
    for odd in (None, [None], [("a", None)], [{"sentence1": "a"}], [1], 5):
        with pytest.raises(ex.UserError):
            run.predict(odd)
    assert mlflow.get_tracking_uri().endswith("another.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/own.db")
    with pytest.raises(ex.UserError, match="is no id of a run"):
        ex.load(run)  # type: ignore[arg-type]
    folder = run.folder
    monkeypatch.chdir("/")
    assert run.folder == folder
    assert len(run.predictions()) == 32
    monkeypatch.chdir(project)
    assert run.model().config.num_labels == 2
    assert run.tokenizer()("a")["input_ids"]
    assert (run.folder / "model" / "model.safetensors").is_file()
    assert run.id in run.url
    assert ex.load(run.id[:8]).fingerprint == run.fingerprint
    with pytest.raises(ex.UserError, match="has logged no predictions of 'june'"):
        run.predictions("june")
    with pytest.raises(ex.UserError, match="has 1 texts, but this run takes 2"):
        run.predict("one text")
    with pytest.raises(ex.UserError, match="allowed: fp32, bf16"):
        run.predict([("a", "b")], precision="bf61")


@pytest.mark.slow
def test_a_sweep_is_compared(project: Path) -> None:
    sweep = ex.sweep(*SHORT, "optimizer=adamw,sgd", "seed=1,2")
    table = sweep.runs()
    assert list(table["state"]) == ["FINISHED"] * 4
    assert {run.id for run in sweep.best} <= set(table["run"])
    found = sweep.compare()
    assert set(found.table["optimizer"]) == {"adamw", "sgd"}
    assert list(found.table["n"]) == [2, 2]
    assert "adamw" in found.verdict[0]
    assert "<li>" in found._repr_html_()
    pair = ex.compare_runs(*table["run"][:2])
    assert "f1" in set(pair.differences["metric"])
    assert set(ex.runs()["run"]) == set(table["run"])
    with pytest.raises(ex.UserError, match="is a sweep"):
        ex.load(sweep.id)
    with pytest.raises(ex.UserError, match="1 of 2 jobs have not finished"):
        ex.sweep(*SHORT[:-1], "lora.target_modules=[query],[nothing]")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimzer=sgd"], "did you mean 'optimizer'"),
        (["optimizer.lr=fast"], "optimizer.lr='fast': expected a number"),
        (["data=files", "data.train_file=nothing.csv"], "no such file"),
        (["dry_run=true", *SHORT], "leaves no run"),
        ([3], "3: is no override"),
        (["task._target_=os.system"], "'os' is not trusted"),
    ],
)
def test_bad_input_raises_what_the_command_line_prints(
    overrides: list[Any], message: str, project: Path
) -> None:
    with pytest.raises(ex.UserError, match=message):
        ex.run(*overrides)
    assert not GlobalHydra.instance().is_initialized()


def test_data_in_memory_count_by_their_content(project: Path) -> None:
    first = ex.run(*OF_REVIEWS, train=REVIEWS)
    assert list(first.predict(["good film"])["text"]) == ["good film"]
    shuffled_back = REVIEWS.sample(frac=1, random_state=0).sort_index()
    as_categories = REVIEWS.astype({"label": "category"})
    for same in (shuffled_back, as_categories, Dataset.from_pandas(REVIEWS)):
        assert file_of("train", same) == first.config.data.train_file
    REVIEWS.to_json("train.jsonl", orient="records", lines=True)
    of_file = ex.run(*OF_REVIEWS, train="train.jsonl")
    assert of_file.metrics["final/loss"] == first.metrics["final/loss"]
    other = ex.run(*OF_REVIEWS, train=REVIEWS.assign(text=REVIEWS["text"] + "!"))
    assert other.fingerprint != first.fingerprint
    again = ex.run(*OF_REVIEWS, "resume=auto", train=REVIEWS)
    assert again.id == first.id


def test_names_of_classes_come_with_a_dataset(project: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    rows = {"text": list(REVIEWS["text"]), "label": [1, 0] * 20}
    data = Dataset.from_dict(rows, features=features).select(range(4, 40))
    run = ex.run(*OF_REVIEWS, train=data)
    assert run.model().config.id2label == {0: "bad", 1: "good"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"text": "a"}], "is a builtins.list; expected a pandas DataFrame"),
        (pd.DataFrame({0: ["a"], "label": "x"}), "has no column 'text'"),
        (pd.DataFrame({"text": ["a", 3], "label": "x"}), "has no column 'text'"),
        (pd.concat([REVIEWS, REVIEWS], axis=1), "has no column"),
        (Dataset.from_pandas(REVIEWS).with_transform(dict), "has a transform"),
    ],
)
def test_data_that_cannot_be_kept_are_refused(data: Any, message: str, project: Path) -> None:
    with pytest.raises(ex.UserError, match=message):
        ex.run(*OF_REVIEWS, train=data)
    assert not list(output_dir().glob("given/*.unfinished"))


def test_columns_that_the_task_does_not_need_may_hold_anything(project: Path) -> None:
    odd = REVIEWS.assign(mixed=[1, "a"] * 20, far=1j)
    assert file_of("train", odd) == file_of("train", REVIEWS)


def test_threads_keep_their_own_data(project: Path) -> None:
    frames = [REVIEWS.assign(number=i) for i in range(40)]
    with ThreadPoolExecutor(8) as threads:
        files = list(threads.map(partial(file_of, "train"), frames))
    kept = [pa.ipc.open_file(file).read_all()["number"][0].as_py() for file in files]
    assert kept == list(range(40))


def test_a_run_keeps_what_its_call_trusted() -> None:
    assert tuple(sorted(_trusted(["trusted_modules=[my_pkg,other]"]))) == ("my_pkg", "other")
    assert _trusted(["task._target_=mine.Task", "seed=1"]) == ("mine",)


def test_data_are_given_once(project: Path) -> None:
    with pytest.raises(ex.UserError, match="train: gives the data, and so does data="):
        ex.run("data=demo", train=REVIEWS)


@pytest.mark.slow
def test_ctrl_c_stops_a_run_that_goes_on_later(project: Path) -> None:
    def interrupt() -> None:
        while not list(Path("outputs/runs").glob("*/checkpoints/step-*/SHA256SUMS")):
            ended.wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    ended = threading.Event()
    long = (*TINY, "lora=none", "train.max_steps=300", "checkpoint.every_steps=20", "resume=auto")
    handler = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        ex.run(*long)
    assert signal.getsignal(signal.SIGINT) is handler
    (stopped,) = runs_of(project)
    assert stopped.info.status == "KILLED"
    run = ex.run(*long)
    assert run.id == stopped.info.run_id
    assert len(run.history()["train/loss"].dropna()) == 300


@pytest.mark.slow
def test_a_module_that_is_edited_is_imported_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project))
    source = "from expkit.tasks.text_classification import TextClassification\n\n\n"
    source += "class Own(TextClassification):\n    def baseline(self, *data):\n        return {{'is': {}}}\n"
    own = (*SHORT, "task._target_=edited_task.Own", "trusted_modules=[edited_task]")
    fingerprints = set()
    for number in (1, 22, 1):
        Path("edited_task.py").write_text(source.format(number))
        run = ex.run(*own)
        assert run.metrics["baseline/is"] == number
        assert "edited_task" not in sys.modules
        fingerprints.add(run.fingerprint)
    assert len(fingerprints) == 2
    own_module = importlib.import_module("edited_task")  # by the user, so it stays
    ex.run(*own)
    Path("edited_task.py").write_text(source.format(333))
    as_imported = ex.run(*own)
    assert (as_imported.metrics["baseline/is"], as_imported.fingerprint) == (1, run.fingerprint)
    importlib.reload(own_module)
    reloaded = ex.run(*own)
    assert reloaded.metrics["baseline/is"] == 333
    assert reloaded.fingerprint not in fingerprints
    del sys.modules["edited_task"]


def test_everything_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    logger, folder = logging.getLogger("mlflow"), Path.cwd()

    def state() -> tuple[Any, ...]:
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            logger.level,
            transformers.logging.get_verbosity(),
            datasets.are_progress_bars_disabled(),
            list(warnings.filters),
            torch.get_num_threads(),
        )

    before = state()
    with pytest.raises(ValueError, match="of the block"), untouched():  # noqa: PT012
        os.environ |= {"KEPT": "after", "NEW": "1"}
        os.chdir(tmp_path)
        torch.rand(1)
        random.random()
        logger.setLevel(logger.level + 7)
        logging.root.addHandler(logging.NullHandler())
        transformers.logging.set_verbosity(37)
        datasets.disable_progress_bars()
        warnings.simplefilter("error")
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ValueError("of the block")
    assert before == state()
    assert (os.environ["KEPT"], "NEW" in os.environ, Path.cwd()) == ("before", False, folder)
    assert torch.get_default_dtype() is torch.float32
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    assert not any(type(h) is logging.NullHandler for h in logging.root.handlers)
