"""A threshold and a temperature that were chosen on validation go with the model, wherever it is used."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from conftest import CHECKOUT, TINY, Command, composed, only_run
from expkit.config.components import make
from expkit.metrics.outcomes import FILE, read
from expkit.tracking.logged import logged_run

CHOSEN = ("task.threshold=tune", "task.calibrate=temperature")
SERVED = """
import json, sys
sys.modules["expkit"] = None  # importing it fails
import mlflow
print(mlflow.pyfunc.load_model(sys.argv[1]).predict(json.loads(sys.argv[2])).to_json(orient="records"))
"""


@pytest.mark.slow
def test_all_ways_to_use_the_model_agree(project: Path, expkit: Command) -> None:
    done = expkit(*TINY, *CHOSEN, "data.sizes.test=30", "train.max_steps=6")
    assert done.returncode == 0, done.stderr
    assert "chosen on validation, which is scored by cross-fitting" in " ".join(done.stdout.split())
    run = only_run(project)
    assert "scored by cross-fitting" in run.data.tags["mlflow.note.content"]
    folder = project / "outputs" / "runs" / run.info.run_id / "model"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    decision = model.config.decision
    assert decision["temperature"] != 1

    data = make(composed(*TINY, "data.sizes.test=30"), "data")
    records = list(data.test)
    texts = [[r[name] for r in records] for name in ("sentence1", "sentence2")]
    logits = model(**tokenizer(*texts, padding=True, return_tensors="pt")).logits.detach().numpy()
    second = softmax(logits.astype(float) / decision["temperature"], axis=1)[:, 1]
    expected = (second >= decision["thresholds"][0]).astype(int).tolist()
    outcomes = logged_run(run.info.run_id).artifact(f"test/{FILE}")
    assert outcomes is not None
    assert read(outcomes)[0].predictions == expected

    (project / "new.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    predicted = expkit(
        run.info.run_id, "--file", "new.jsonl", "--probabilities", module="expkit.predict"
    )
    rows = [json.loads(line)["predictions"][0] for line in predicted.stdout.splitlines()]
    assert [int(row["label"]) for row in rows] == expected
    assert np.allclose([row["probabilities"]["1"] for row in rows], second, atol=1e-6)

    inputs = [{"text": one, "text_pair": two} for one, two in zip(*texts, strict=True)]
    served = subprocess.run(
        [sys.executable, "-c", SERVED, f"runs:/{run.info.run_id}/model", json.dumps(inputs)],
        capture_output=True,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{project}/outputs/mlflow.db"},
    )
    assert served.returncode == 0, served.stderr
    answers = json.loads(served.stdout.splitlines()[-1])
    assert [int(answer["label"]) for answer in answers] == expected

    page = (CHECKOUT / "docs" / "thresholds.md").read_text(encoding="utf-8")
    lines = re.findall(r"```python\n(.*?)```", page, re.S)[0].replace("(texts,", "(*texts,")
    names = {"model": model, "tokenizer": tokenizer, "texts": texts}
    with torch.inference_mode():
        exec(lines, names)  # noqa: S102 - of our own page
    assert names["is_second_label"].int().tolist() == expected

    for name, split, group in (("again", data.validation, "final"), ("june", data.test, "test")):
        file = project / f"{name}.jsonl"
        file.write_text("".join(json.dumps(record) + "\n" for record in split))
        scored = expkit(run.info.run_id, "--file", file.name, module="expkit.evaluate")
        assert scored.returncode == 0, scored.stderr
        metrics = only_run(project).data.metrics
        for key in ("loss", "accuracy", "f1", "ece"):
            assert metrics[f"{name}/{key}"] == metrics[f"{group}/{key}"]


def test_a_threshold_needs_two_labels(project: Path, expkit: Command) -> None:
    labels = [{"sentence1": f"a {n}", "sentence2": "b", "label": "xyz"[n % 3]} for n in range(12)]
    (project / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in labels))
    files = ("data=files", "data.train_file=a.jsonl", "data.validation_file=a.jsonl")
    done = expkit("model=tiny_bert", *files, "task.threshold=tune")
    assert done.returncode == 1
    assert "task.threshold=tune: is for two labels, but there are 3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("threshold", ["0", "1", "tuned", "1.5"])
def test_what_is_no_threshold(threshold: str, project: Path, expkit: Command) -> None:
    done = expkit(*TINY, f"task.threshold={threshold}")
    assert done.returncode == 2
    assert "task.threshold" in done.stderr
    assert "Traceback" not in done.stderr
