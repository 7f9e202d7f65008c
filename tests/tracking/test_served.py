"""Logged models of all tasks load and are served as the docs say, in a virtual environment that has no expkit."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import mlflow
import pytest
from omegaconf import DictConfig

from conftest import CHECKOUT, SMALL_RUNS, SMALL_TASKS, Command, composed, free_port
from expkit.config.checks import check
from expkit.config.components import make, make_task
from expkit.experiment import run
from expkit.tasks.interface import Task
from expkit.tracking.logged import logged_run
from expkit.tracking.model import load_model

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
import json, sys, mlflow, torch
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
loads, text, task, loads_from = json.loads(sys.argv[1])
served, pipeline, components, model = loads
answered = eval(served).predict([text])
if task == "multilabel_classification":
    (scores,) = answered["probabilities"]
    (all_labels,) = eval(pipeline)([text], top_k=None)
    assert {a["label"]: round(a["score"], 5) for a in all_labels} == {k: round(v, 5) for k, v in scores.items()}
    assert len(scores) == 4, scores
    logits = eval(model)(**eval(components)["tokenizer"](text, return_tensors="pt")).logits[0]
    assert (logits.sigmoid() - torch.tensor(list(scores.values()))).abs().max() < 1e-5
if task == "translation":
    print(json.dumps(answered["translation"].tolist()))
names = mlflow.models.Model.load(loads_from).signature.outputs.input_names()
assert names == (list(answered.columns) if hasattr(answered, "columns") else [0]), names
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


REQUESTS, AT_ONCE = 100, 8
# Each has a run of a few steps that decides as it has learned to, where its task can.
TASKS = {
    **SMALL_TASKS,
    "text_classification": (
        *SMALL_TASKS["text_classification"],
        "task.threshold=tune",
        "task.calibrate=temperature",
    ),
    "token_classification": (*SMALL_RUNS["weighted_words"], "optimizer.lr=1e-2"),
    "multilabel_classification": SMALL_RUNS["weighted_sets"],
}
BAD = {
    "[]": '{"inputs": []}',
    "no records": '{"dataframe_records": []}',
    "a number": '{"dataframe_records": [{"text": 5, "text_pair": "b"}]}',
    "nothing": '{"dataframe_records": [{"text": null, "text_pair": "b"}]}',
    "half a pair": '{"dataframe_records": [{"text": "a"}]}',
    "no JSON": "{",
    "no form": '{"text": "a"}',
}
BAD_TEXTS = {  # of a task with one text
    '{"inputs": ["a [MASK]", null]}': "is no text",
    '{"inputs": [true]}': "True is no text",
    '{"instances": [5]}': "5 is no text",
    '{"dataframe_records": [{"text_pair": "b", "text": "a"}]}': "'text_pair'; expected 'text'",
}


@pytest.fixture(scope="module")
def without_expkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment that has all packages but expkit."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (place,) = folder.glob("lib/*/site-packages")
    blocked = 'import sys; sys.modules["expkit"] = None'  # it may be among the packages
    (place / "all.pth").write_text("\n".join([*packages, blocked]))
    program = folder / "bin" / "uvicorn"
    program.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m uvicorn "$@"\n')
    program.chmod(0o755)
    return folder / "bin"


@contextmanager
def served(run_id: str, bin_folder: Path, project: Path) -> Iterator[str]:
    """The address of `mlflow models serve`, as docs/serving.md starts it."""
    port = free_port()
    command = [bin_folder / "python", "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    server = subprocess.Popen(
        [*map(str, command), "-m", f"runs:/{run_id}/model", "--port", str(port)],
        cwd=project,
        env=surroundings(bin_folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()


def surroundings(bin_folder: Path) -> dict[str, str]:
    own = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}


def answer(address: str, request: str) -> tuple[int, Any]:
    """The status and the body of an answer, after waiting for a server that starts."""
    asked = Request(
        f"{address}/invocations", request.encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            with urlopen(asked, timeout=60) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def request_of(records: list[dict[str, str]], form: int) -> str:
    """A request in one of the forms that MLflow knows."""
    columns = list(records[0])
    forms: list[dict[str, Any]] = [
        {"dataframe_records": records},
        {"dataframe_split": {"columns": columns, "data": [list(r.values()) for r in records]}},
    ]
    if len(columns) == 1:
        texts = [text for record in records for text in record.values()]
        forms += [{"inputs": texts}, {"instances": texts}]
    return json.dumps(forms[form % len(forms)])


def near(one: Any, other: Any) -> bool:
    """Whether both are the same, except for numbers that differ by up to 1e-5."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return one == pytest.approx(other, abs=1e-5) if isinstance(one, float) else one == other


def records_of(cfg: DictConfig, task: Task) -> list[dict[str, str]]:
    """What to ask, in the columns of the task: also an empty text, and one that is too long."""
    names, split = task.columns, make(cfg, "data").validation
    nested = task.pipeline == "translation"
    texts = {name: list(task.asked(split) if nested else split.column(name)) for name in names}
    if task.pipeline == "token-classification":
        texts = {name: list(map(" ".join, sentences)) for name, sentences in texts.items()}
    if task.pipeline == "fill-mask":
        texts = {name: [f"[MASK] {text}" for text in of] for name, of in texts.items()}
    elif not nested:
        texts[names[0]][0] = ""
    texts[names[0]][1] += " and so on" * 200
    return [dict(zip(names, row, strict=True)) for row in zip(*texts.values(), strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_model_of_each_task_loads_and_is_served_as_the_docs_say(
    task: str, project: Path, expkit: Command, without_expkit: Path
) -> None:
    cfg = composed(*TASKS[task], "lora=none", "train.max_steps=20", "train.eval_every=20")
    check(cfg, [])
    outcome = run(cfg, {})
    with served(outcome.run_id, without_expkit, project) as address:
        loads_as_the_docs_say(task, outcome.run_id, without_expkit, project)
        answers_as_predict_does(address, outcome.run_id, cfg, expkit)
        if task == "text_classification":
            for what, request in BAD.items():
                status, said = answer(address, request)
                assert status == 400, (what, said)
            assert answer(address, json.dumps(EMPTY)) == (200, {"predictions": []})
        else:
            for request, why in BAD_TEXTS.items():
                status, said = answer(address, request)
                assert (status, why in str(said)) == (400, True), (request, said)


EMPTY = {"dataframe_split": {"columns": ["text", "text_pair"], "data": []}}


def answers_as_predict_does(address: str, run_id: str, cfg: DictConfig, expkit: Command) -> None:
    task = make_task(cfg)
    records = records_of(cfg, task)
    Path("asked.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    options = ["--probabilities"] if task.shows_probabilities is not None else []
    predicted = expkit(run_id, "--file", "asked.jsonl", *options, module="expkit.predict")
    assert predicted.returncode == 0, predicted.stderr
    expected = [json.loads(line)["predictions"] for line in predicted.stdout.splitlines()]
    names = ["text", "text_pair"] if len(task.columns) == 2 else ["text"]
    asked = [dict(zip(names, record.values(), strict=True)) for record in records]
    rng = random.Random(0)
    chosen = [rng.sample(range(len(asked)), rng.randint(1, 4)) for _ in range(REQUESTS)]
    requests = [request_of([asked[i] for i in rows], n) for n, rows in enumerate(chosen)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(partial(answer, address), requests))
    for rows, (status, body) in zip(chosen, answers, strict=True):
        assert status == 200, body
        wanted = [expected[i] for i in rows]
        if not task.has_several_rows:
            wanted = [row for (row,) in wanted]
        assert near(body["predictions"], wanted)


def loads_as_the_docs_say(task: str, run_id: str, bin_folder: Path, project: Path) -> None:
    loads = [call.replace("RUN_ID", run_id) for call in documented_loads()]
    loads[3] = re.sub(r"AutoModel\w+", AUTO_CLASSES[task], loads[3])
    uri = logged_run(run_id).model_uri()
    asked = json.dumps([loads, TEXTS.get(task, "a text"), task, uri])
    done = subprocess.run(
        [bin_folder / "python", "-c", WITHOUT_EXPKIT, asked],
        cwd=project,
        capture_output=True,
        text=True,
        env=surroundings(bin_folder),
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len({*answers[-3:]} if task == "translation" else {*answers[-2:]}) == 1, answers
    folder = folder_of(uri)
    assert type(load_model(uri)[0]).__name__ == type(load_model(folder)[0]).__name__
    card = Path(folder, "README.md").read_text(encoding="utf-8")
    assert re.search(r"\| [\d.e-]+ \([\d.e-]+ to [\d.e-]+\) \|", card), card
    cli = re.search(r"--text (.*)", card)
    assert cli is not None
    asked = card[: cli.start()].rpartition(".predict(")[2].partition(")\n")[0]
    assert len(mlflow.pyfunc.load_model(uri).predict(json.loads(asked))) == 1
    assert len(shlex.split(cli[1])) == len(make_task(composed(*TASKS[task])).columns)
    assert card == (project / f"outputs/runs/{run_id}/model/README.md").read_text(encoding="utf-8")


def folder_of(uri: str) -> str:
    return str(mlflow.artifacts.download_artifacts(uri))
