"""Logged models of all tasks load as docs/runs.md says, in a Python that has no expkit."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from conftest import CHECKOUT, SMALL_TASKS, composed
from expkit.config.project import run_folder
from expkit.experiment import prepare
from expkit.tracking.model import load_model, log_model
from expkit.tracking.store import connect

LOADS = r"(mlflow\.\w+\.load_model|AutoModel\w+\.from_pretrained)\(.*?\)"
AUTO_CLASSES = {
    "text_classification": "AutoModelForSequenceClassification",
    "text_regression": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "multilabel_classification": "AutoModelForSequenceClassification",
    "masked_lm": "AutoModelForMaskedLM",
    "translation": "AutoModelForSeq2SeqLM",
}
TEXTS = {
    "text_classification": {"text": "a text", "text_pair": "another one"},
    "masked_lm": "a [MASK] text",
    "translation": "你好",
}
WITHOUT_EXPKIT = """
import json, sys
sys.modules["expkit"] = None  # importing it fails
import mlflow, torch
from transformers import *
loads, text, task = json.loads(sys.argv[1])
served, pipeline, components, model = loads
answered = eval(served).predict([text])
if task == "multilabel_classification":
    labels, scores = answered.iloc[0][["labels", "scores"]]
    (all_labels,) = eval(pipeline)([text], top_k=None)
    assert {a["label"]: round(a["score"], 5) for a in all_labels} == {k: round(v, 5) for k, v in scores.items()}
    assert len(scores) == 4 and labels == [name for name, p in scores.items() if p >= 0.5], scores
    logits = eval(model)(**eval(components)["tokenizer"](text, return_tensors="pt")).logits[0]
    assert (logits.sigmoid() - torch.tensor(list(scores.values()))).abs().max() < 1e-5
print(json.dumps(answered, default=str))
components = eval(components)
texts = text if isinstance(text, dict) else {"text": text}
ids = components["tokenizer"](**texts, return_tensors="pt")
if task == "translation":
    try:
        eval(pipeline)
    except mlflow.MlflowException as error:
        assert "return_type'='components'" in str(error), error
    for loaded in (components["model"], eval(model)):
        generated = loaded.generate(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"])
        print(json.dumps([components["tokenizer"].decode(generated[0], skip_special_tokens=True)]))
else:
    assert eval(pipeline)(text)
    for loaded in (components["model"], eval(model)):
        print(loaded(**ids).logits.sum().item())
"""


def documented_loads() -> list[str]:
    """The calls that load a model, in the order of docs/runs.md."""
    page = (CHECKOUT / "docs" / "runs.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```python\n(.*?)```", page, re.S) if "RUN_ID" in b)
    return [match[0] for match in re.finditer(LOADS, block)]


@pytest.mark.slow
@pytest.mark.parametrize("task", AUTO_CLASSES)
def test_the_model_of_each_task_loads_as_the_docs_say(task: str, project: Path) -> None:
    cfg = composed(*SMALL_TASKS[task], "lora=none")
    prepared = prepare(cfg)
    connect(None)
    client = MlflowClient()
    run = client.create_run(client.create_experiment("served"))
    folder = run_folder(run.info.run_id) / "model"
    prepared.training.model.save_pretrained(folder)
    prepared.tokenizer.save_pretrained(folder)
    example = prepared.task.input_example(prepared.splits.validation)
    uri = log_model(run.info.run_id, str(folder), prepared.task.pipeline, example)

    loads = [call.replace("RUN_ID", run.info.run_id) for call in documented_loads()]
    loads[3] = re.sub(r"AutoModel\w+", AUTO_CLASSES[task], loads[3])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_EXPKIT,
            json.dumps([loads, TEXTS.get(task, "a text"), task]),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
    )
    assert done.returncode == 0, done.stderr
    served, one, other = done.stdout.splitlines()[-3:]
    assert one == other
    if task == "translation":
        assert served == one
    assert type(load_model(uri)[0]).__name__ == type(load_model(str(folder_of(uri)))[0]).__name__


def folder_of(uri: str) -> str:
    return str(mlflow.artifacts.download_artifacts(uri))
