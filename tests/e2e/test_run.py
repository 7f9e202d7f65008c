"""A run as a user starts it, and what MLflow holds afterwards."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import CHECKOUT, TINY, environment_of, only_run

WORDS = {
    "animal": ["dog", "cat", "horse", "bird", "cow"],
    "colour": ["red", "blue", "green", "black", "white"],
}
OPTIONS = (
    "model=tiny_bert",
    "model.hidden_size=32",
    "data=files",
    "data.train_file=train.jsonl",
    "data.validation_file=validation.csv",
    "task.text_columns=[text]",
    "task.label_column=kind",
    "train.batch_size=8",
    "train.epochs=6",
    "train.log_every=2",
    "optimizer.lr=5e-3",
    "lora=all_linear",
)


def write_data(folder: Path) -> None:
    """Texts whose label shows in their words; names as labels, once as JSON Lines, once as CSV."""
    rng = random.Random(0)

    def record() -> dict[str, str]:
        kind = rng.choice(sorted(WORDS))
        return {"text": " ".join(rng.choices(WORDS[kind], k=rng.randint(2, 9))), "kind": kind}

    train = [json.dumps(record()) for _ in range(64)]
    (folder / "train.jsonl").write_text("\n".join(train))
    rows = [f"{r['text']},{r['kind']}" for r in (record() for _ in range(30))]
    (folder / "validation.csv").write_text("text,kind\n" + "\n".join(rows))


def environment() -> dict[str, str]:
    """Without the store of another test: MLflow hands the one it uses on to child processes."""
    own = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return {**own, "COLUMNS": "120"}


def run_module(folder: Path, *arguments: str, module: str = "expkit") -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "outputs").mkdir()
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    return run_module(folder, *OPTIONS)


@pytest.fixture(scope="module")
def run(folder: Path, printed: str) -> Run:
    client = MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    mlflow.set_tracking_uri(client.tracking_uri)
    return run


def test_ends_with_a_table_and_what_to_do_next(printed: str, run: Run) -> None:
    for part in (
        "validation",
        "majority baseline",
        "accuracy",
        "merge difference",
        run.info.run_id,
    ):
        assert part in printed
    assert "make ui" in printed
    assert f"python -m expkit.predict {run.info.run_id}" in printed


def test_run_is_finished_and_learned(run: Run) -> None:
    metrics = run.data.metrics
    assert run.info.status == "FINISHED"
    assert metrics["final/accuracy"] > metrics["baseline/majority_accuracy"] + 0.2
    assert metrics["lora/merge_max_abs_diff"] < 1e-4
    assert metrics["lora/trainable_parameters"] > 0
    expected = {"eval/loss", "eval/f1", "final/matthews", "train/loss", "train/learning_rate"}
    assert expected | {"train/grad_norm", "train/samples_per_second"} <= set(metrics)


def test_every_logged_step_arrived(run: Run) -> None:
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == list(range(2, 49, 2))


def test_parameters_are_the_flat_config(run: Run) -> None:
    assert run.data.params["optimizer.lr"] == "0.005"
    assert run.data.params["task.text_columns"] == '["text"]'
    assert run.data.params["lora.target_modules"] == "all-linear"
    assert not {"run_name", "resume", "tracking.experiment"} & set(run.data.params)


def test_what_was_typed_comes_first_and_the_result_is_the_first_metric(run: Run) -> None:
    names = [option.partition("=")[0] for option in OPTIONS if not option.startswith("tracking")]
    params = list(run.data.params)
    assert params[: len(names)] == names
    listed = [name for name in params if name.startswith("Typed.")]
    assert listed == [f"Typed.{name}" for name in names]
    assert run.data.params["Typed.optimizer.lr"] == "5e-3"
    assert next(iter(run.data.metrics)) == "final/f1"
    history = MlflowClient().get_metric_history(run.info.run_id, "final/f1")
    assert [str(m.value) for m in history] == ["nan", str(run.data.metrics["final/f1"])]
    of_no_step = [name for name in run.data.metrics if not name.startswith(("train/", "eval/"))]
    assert {"final/loss", "baseline/majority_f1", "lora/merge_max_abs_diff"} <= set(of_no_step)
    for name in of_no_step:
        assert {m.step for m in MlflowClient().get_metric_history(run.info.run_id, name)} == {0}


def test_inputs_name_and_digest_the_data(run: Run) -> None:
    inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "validation"}
    assert inputs["train"].name == "train"
    assert inputs["train"].digest != inputs["validation"].digest


def test_a_file_names_versions_and_hardware_and_tags_what_a_person_looks_for(run: Run) -> None:
    assert {"version.torch", "version.transformers", "hardware.cpu"} <= set(environment_of(run))
    shown = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    assert shown.keys() == {"expkit.task", "expkit.model", "expkit.data", "precision"}
    assert (shown["expkit.task"], shown["expkit.model"]) == ("classification", "tiny_bert")


def test_artifacts(run: Run) -> None:
    client = MlflowClient()
    names = {
        artifact.path
        for folder in ("", "eval", "adapter")
        for artifact in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"run.yaml", "eval/predictions.json", "eval/confusion_matrix.png"} <= names
    assert "adapter/adapter_model.safetensors" in names
    table = client.load_table(
        run.info.experiment_id, "eval/predictions.json", run_ids=[run.info.run_id]
    )
    assert list(table.columns[:4]) == ["text", "label", "predicted", "probability"]
    share = (table["label"] == table["predicted"]).mean()
    assert share == pytest.approx(run.data.metrics["final/accuracy"])


def test_logged_config_runs_again_with_the_same_result(folder: Path, run: Run) -> None:
    artifact = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/run.yaml")
    printed = run_module(
        folder,
        f"--config-dir={Path(artifact).parent}",
        "--config-name=run",
        "tracking.experiment=again",
    )
    client = MlflowClient()
    again = client.get_experiment_by_name("again")
    assert again is not None
    (repeated,) = client.search_runs([again.experiment_id])
    assert repeated.info.run_id in printed
    same = {k: v for k, v in run.data.metrics.items() if "samples_per_second" not in k}
    assert {k: repeated.data.metrics[k] for k in same} == same


WITHOUT_EXPKIT = """
import csv, json, sys
sys.modules["expkit"] = None  # importing it fails
import mlflow
from transformers import AutoModelForSequenceClassification, AutoTokenizer
uri, folder = sys.argv[1:]
rows = list(csv.DictReader(open("validation.csv")))
def score(answers):
    return sum(a["label"] == r["kind"] for a, r in zip(answers, rows)) / len(rows)
texts = [row["text"] for row in rows]
pipeline = mlflow.transformers.load_model(uri)
plain = AutoModelForSequenceClassification.from_pretrained(folder + "/model")
tokenizer = AutoTokenizer.from_pretrained(folder + "/components/tokenizer")
logits = plain(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits
loss = __import__("torch").nn.functional.cross_entropy(
    logits, __import__("torch").tensor([plain.config.label2id[row["kind"]] for row in rows]))
named = [{"label": plain.config.id2label[int(i)]} for i in logits.argmax(-1)]
served = mlflow.pyfunc.load_model(uri).predict(texts).to_dict("records")
print(json.dumps([score(pipeline(texts, truncation=True)), score(named), score(served), loss.item()]))
"""


def test_model_loads_and_scores_without_expkit(folder: Path, run: Run) -> None:
    uri = f"models:/{run.outputs.model_outputs[0].model_id}"
    model_folder = mlflow.artifacts.download_artifacts(uri)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXPKIT, uri, model_folder],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
    )
    assert done.returncode == 0, done.stderr
    *accuracies, loss = json.loads(done.stdout.splitlines()[-1])
    assert accuracies == [pytest.approx(run.data.metrics["final/accuracy"])] * 3
    assert loss == pytest.approx(run.data.metrics["final/loss"], abs=1e-6)


def test_predict_answers_texts_and_files(folder: Path, run: Run) -> None:
    short = run.info.run_id[:8]
    table = run_module(folder, short, "--text", "dog cat horse", module="expkit.predict")
    assert "animal" in table
    lines = run_module(folder, short, "--file", "validation.csv", module="expkit.predict")
    answers = [json.loads(line) for line in lines.splitlines()]
    assert len(answers) == 30
    assert set(answers[0]["predictions"][0]) == {"label", "probability"}
    assert answers[0]["text"]


def test_default_groups_run_without_any_socket(tmp_path: Path) -> None:
    """Everything but the numbers of steps as in `make run`: MiniLM, LoRA, demo pairs."""
    (tmp_path / "outputs").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            str(CHECKOUT / "tests" / "e2e" / "without_sockets.py"),
            *(option for option in TINY if not option.startswith("model")),
            "train.max_steps=2",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "majority baseline" in done.stdout
    assert (tmp_path / "sockets.txt").read_text() == ""


def test_a_run_can_start_from_the_model_of_another(folder: Path, run: Run) -> None:
    model = folder / "outputs" / "runs" / run.info.run_id / "model"
    changed = [option for option in OPTIONS if not option.startswith("model")]
    printed = run_module(
        folder,
        *changed,
        "model=checkpoint",
        f"model.path={model}",
        "optimizer.lr=1e-7",
        "train.epochs=1",
        "tracking.experiment=second",
    )
    assert "custom" not in printed
    second = MlflowClient().get_experiment_by_name("second")
    assert second is not None
    (started_trained,) = MlflowClient().search_runs([second.experiment_id])
    assert started_trained.data.metrics["final/accuracy"] == run.data.metrics["final/accuracy"]


def test_examples_that_stand_in_train_are_left_out_of_a_second_score(project: Path) -> None:
    """They are said at the start, and their positions are in the report on the data."""
    write_data(project)
    known = [json.loads(line) for line in (project / "train.jsonl").read_text().splitlines()]
    leaks = [f"{record['text']},{record['kind']}" for record in known[:5]]
    head, *rest = (project / "validation.csv").read_text().splitlines()
    clean = [row for row in rest if row.split(",")[0] not in {r["text"] for r in known}]
    (project / "validation.csv").write_text("\n".join([head, *clean]))
    (project / "leaky.csv").write_text("\n".join([head, *clean, *leaks]))
    short = (*OPTIONS, "train.epochs=1", "precision=fp32", "train.eval_every=1000")
    said = run_module(project, *short, "data.validation_file=leaky.csv")
    line = len(clean) + 2
    assert f"inputs that stand in train: 5 of {line + 3}, first leaky.csv, line {line}" in said
    assert "validation without 5 in train" in said
    run = only_run(project)
    table = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/eval/predictions.json")
    right = [row[1] == row[2] for row in table["data"]]  # text, label, predicted
    assert run.data.metrics["final/accuracy"] == pytest.approx(sum(right) / len(right))
    rest = right[: len(clean)]
    assert run.data.metrics["final.unseen/accuracy"] == pytest.approx(sum(rest) / len(rest))
    report = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/data/report.json")
    assert report["validation"]["in_train"]["positions"] == list(range(line - 2, line + 3))
