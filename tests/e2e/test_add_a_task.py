"""The task of docs/add-a-task.md works as a package of the user's, and by the same two files inside expkit."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import forked
from conftest import CHECKOUT, SURROUNDINGS
from expkit.processes.exits import BAD_INPUT, FAILED

PAGE = (CHECKOUT / "docs" / "add-a-task.md").read_text()
FILES = {
    name: text
    for text, name in re.findall(
        r"```(?:python|yaml)\n((?:# @.*\n)?# (\S+)\n.*?)```", PAGE, re.DOTALL
    )
}
CODE, CONFIG = FILES["my_pkg/pair_similarity.py"], FILES["mine/task/pair_similarity.yaml"]
WORDS = ["cat", "dog", "horse", "bird", "cow", "fish", "goat", "duck", "hen", "pig"]
OPTIONS = (
    *("model=tiny_bert", "model.hidden_size=32", "model.layers=1", "precision=fp32"),
    *("train.batch_size=8", "train.log_every=1", "train.eval_every=2", "train.epochs=2"),
    *("optimizer.lr=0.01", "eval.batch_size=16", "task=pair_similarity"),
    *("data.train_file=pairs/train.jsonl", "data.validation_file=pairs/validation.csv"),
)
OWN = ("--config-dir=mine", "trusted_modules=[my_pkg]")
# Five micro-batches an epoch: in its last step, one of two processes has none of its own.
ROUTES = {
    "torch": ("backend=torch", "train.accumulation=2"),
    "trainer": ("backend=trainer", "train.accumulation=2", "tracking.log_model=false"),
    "two": ("launch.processes=2", "tracking.log_model=false"),
}


def pair(rng: random.Random) -> tuple[str, str, float]:
    """Two sentences, and five times the share of words that they have in common."""
    first, second = (set(rng.sample(WORDS, 4)) for _ in range(2))
    score = 5 * len(first & second) / len(first | second)
    return " ".join(sorted(first)), " ".join(sorted(second)), score


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's project: the two files of the page, and data."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "outputs").mkdir()
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    (folder / "pairs").mkdir()
    rng = random.Random(0)
    names = ("sentence1", "sentence2", "score")
    train = [json.dumps(dict(zip(names, pair(rng), strict=True))) for _ in range(40)]
    (folder / "pairs" / "train.jsonl").write_text("\n".join(train))
    rows = [",".join(map(str, pair(rng))) for _ in range(20)]
    (folder / "pairs" / "validation.csv").write_text("\n".join([",".join(names), *rows]))
    return folder


def environment() -> dict[str, str]:
    """Without the store of this process: MLflow hands the one it uses on to child processes."""
    return {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | SURROUNDINGS


def expkit(folder: Path, *arguments: str, module: str = "expkit") -> str:
    done = forked.run_module(module, arguments, folder, environment(), timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Run]:
    """A run by each route, as a user starts it."""
    for name, options in ROUTES.items():
        expkit(folder, *OWN, *OPTIONS, *options, f"run_name={name}")
    found = client(folder).search_runs(["1"])
    return {str(run.info.run_name): run for run in found}


def losses(folder: Path, run: Run) -> list[float]:
    return [m.value for m in client(folder).get_metric_history(run.info.run_id, "train/loss")]


def test_it_is_as_small_as_it_is_said_to_be() -> None:
    assert len(CODE.splitlines()) <= 60
    assert len(CONFIG.splitlines()) <= 15


@pytest.mark.parametrize("name", ROUTES)
def test_losses_do_not_depend_on_backend_or_processes(
    name: str, runs: dict[str, Run], folder: Path
) -> None:
    expected = losses(folder, runs["torch"])
    assert len(expected) == 6
    assert len(set(expected)) == 6
    assert losses(folder, runs[name]) == pytest.approx(expected, abs=1e-6, rel=0)


def test_the_weights_with_the_smallest_error_are_kept(runs: dict[str, Run], folder: Path) -> None:
    run = runs["torch"]
    curve = client(folder).get_metric_history(run.info.run_id, "eval/squared_error")
    assert len({m.value for m in curve}) > 1
    best = min(m.value for m in curve)
    assert run.data.metrics["final/squared_error"] == pytest.approx(best, rel=1e-5)
    assert run.data.metrics["final/loss"] == pytest.approx(best, rel=1e-5)


def test_the_adapter_is_merged_and_mlflow_serves_the_model(
    runs: dict[str, Run], folder: Path
) -> None:
    run = runs["torch"]
    assert run.data.metrics["lora/merge_max_abs_diff"] < 1e-4
    rows = [r.split(",") for r in (folder / "pairs/validation.csv").read_text().splitlines()[1:]]
    mlflow.set_tracking_uri(client(folder).tracking_uri)
    uri = f"models:/{run.outputs.model_outputs[0].model_id}"
    served = mlflow.transformers.load_model(uri)
    made = [served({"text": first, "text_pair": second}) for first, second, _ in rows]
    errors = [(one["score"] - float(true)) ** 2 for one, (*_, true) in zip(made, rows, strict=True)]
    error = run.data.metrics["final/squared_error"]
    assert sum(errors) / len(errors) == pytest.approx(error, rel=1e-4)
    asked = [{"text": first, "text_pair": second} for first, second, _ in rows]
    frame = mlflow.pyfunc.load_model(uri).predict(asked)
    assert frame["score"].tolist() == pytest.approx([one["score"] for one in made], rel=1e-4)

    texts = rows[0][:2]
    printed = expkit(
        folder, run.info.run_id, "--trust", "my_pkg", "--text", *texts, module="expkit.predict"
    )
    (shown,) = re.findall(r"-?\d+\.\d+", printed)
    assert float(shown) == pytest.approx(made[0]["score"], rel=1e-4)

    options = ("--file", "pairs/validation.csv", "--out", "pairs/predicted.parquet")
    expkit(folder, run.info.run_id, "--trust", "my_pkg", *options, module="expkit.predict")
    table = pd.read_parquet(folder / "pairs" / "predicted.parquet")
    assert table["sentence1"].tolist() == [first for first, *_ in rows]
    expected = [one["score"] for one in made]
    assert table["predicted_prediction"].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_it_is_compared_and_reproduced(runs: dict[str, Run], folder: Path) -> None:
    ids = [runs[name].info.run_id for name in ("torch", "two")]
    printed = expkit(folder, *ids, "--trust", "my_pkg", module="expkit.compare")
    assert " squared_error " in printed.partition("paired bootstrap")[2]
    printed = expkit(folder, ids[0], "--trust", "my_pkg", module="expkit.reproduce")
    assert re.search(r"reproduced: all \d+ metrics agree", printed)


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        ("task.max_length=-1", BAD_INPUT, "task.max_length=-1: must be at least 4"),
        ("data=demo", BAD_INPUT, "data=demo: the task has no demo data; take data=files"),
        ("task.score_column=sentence1", FAILED, "line 1: sentence1='"),
    ],
)
def test_bad_input_is_one_message(option: str, code: int, message: str, folder: Path) -> None:
    options = [o for o in OPTIONS if option != "data=demo" or not o.startswith("data.")]
    done = forked.run_module("expkit", [*OWN, *options, option], folder, environment(), timeout=600)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_inside_expkit_the_same_two_files_are_enough(
    runs: dict[str, Run], folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(CHECKOUT / "src" / "expkit", tmp_path / "src" / "expkit")
    shutil.copytree(CHECKOUT / "conf", tmp_path / "conf")
    (tmp_path / "src" / "expkit" / "tasks" / "pair_similarity.py").write_text(CODE)
    config = CONFIG.replace("my_pkg.pair_similarity", "expkit.tasks.pair_similarity")
    (tmp_path / "conf" / "task" / "pair_similarity.yaml").write_text(config)
    (tmp_path / "work" / "outputs").mkdir(parents=True)
    shutil.copytree(folder / "pairs", tmp_path / "work" / "pairs")
    done = subprocess.run(
        [sys.executable, "-m", "expkit", *OPTIONS, *ROUTES["torch"], "tracking.log_model=false"],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        timeout=600,
        env=environment() | {"PYTHONPATH": str(tmp_path / "src")},
    )
    assert done.returncode == 0, done.stderr
    (run,) = client(tmp_path / "work").search_runs(["1"])
    assert losses(tmp_path / "work", run) == losses(folder, runs["torch"])
