"""Logged models become versions in MLflow's registry, with a card, and the use of the machine is logged."""

import json
import math
import re
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from huggingface_hub import ModelCard
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
)

from conftest import TINY, Command, composed, runs_of
from expkit.config.checks import check
from expkit.config.fitting import REGISTERED
from expkit.experiment import run
from expkit.terminal.errors import ConfigError, UserError
from expkit.tracking import card
from expkit.tracking.logged import logged_run
from expkit.tracking.note import Row, score_table
from expkit.tracking.registry import register
from expkit.tracking.run import open_run
from expkit.tracking.sweep import SweepRun
from expkit.tracking.writer import CPU

NAMES = (
    "mrpc",
    "a b",
    "模型",
    ".a",
    "a..",
    "v1",
    "latest",
    "",
    " ",
    "a/b",
    "a:b",
    ".",
    "..",
    "..a",
)
ALIASES = (
    "champion",
    "a-b_1",
    "模型",
    "v1a",
    "",
    "a b",
    "latest",
    "Latest",
    "v1",
    "V12",
    "a@b",
    "é.",
)


def is_taken(name: str, alias: str | None) -> bool:
    """Whether MLflow takes both."""
    try:
        _validate_model_name(name)
        if alias is not None:
            _validate_model_alias_name(alias)
            _validate_model_alias_name_reserved(alias)
    except MlflowException:
        return False
    return True


def test_names_and_aliases_are_those_of_mlflow() -> None:
    for name in NAMES:
        assert bool(REGISTERED.fullmatch(name)) == is_taken(name, None), name
        for alias in ALIASES:
            asked = f"{name}@{alias}"
            assert bool(REGISTERED.fullmatch(asked)) == is_taken(name, alias), asked
    assert not REGISTERED.fullmatch("a" * 257)
    assert not REGISTERED.fullmatch("a@" + "b" * 256)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["tracking.register=a/b"], "tracking.register='a/b': expected a name"),
        (["tracking.register=a@v1"], "tracking.register='a@v1': expected a name"),
        (["tracking.register=a", "tracking.log_model=false"], "leaves no model to register"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_training(
    options: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        check(composed(*TINY, *options), options)


def test_the_system_is_watched_until_a_run_is_closed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    before = threading.enumerate()
    settings = {"uri": None, "experiment": "a"}
    with suppress(KeyboardInterrupt), open_run(settings, "a", {}, "never") as opened:
        opened.start()
        opened.watch_system()
        opened.log({"loss": 1.0}, 1)
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert threading.enumerate() == before
    client = MlflowClient()
    steps = [m.step for m in client.get_metric_history(opened.id, CPU)]
    assert len(steps) > 2
    with open_run(settings, "a", {}, opened.id, lambda folder: True) as again:
        again.start(None)
        again.watch_system()
    assert [m.step for m in client.get_metric_history(opened.id, CPU)] == [*range(len(steps) + 1)]
    with pytest.raises(UserError, match="has logged no model to register"):
        register(client, opened.id, "a", "")
    assert not client.search_registered_models()


@pytest.mark.slow
def test_a_run_registers_its_model_with_a_card(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = project / "Acme Corp (secret, 1)" / "it's"
    own.mkdir(parents=True)
    rows = [{"sentence1": f"a {n}", "sentence2": "b", "label": "xy"[n % 2]} for n in range(40)]
    for name in ("train", "validation", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows[len(name) :])
        (own / f"{name} 1.jsonl").write_text(text)
    quoted = str(own / "{} 1.jsonl").replace("'", "\\'")
    where = {n: f"'{quoted}'".format(n) for n in ("train", "validation", "test")}
    options = [
        *(option for option in TINY if not option.startswith("data")),
        "data=files",
        *(f"data.{name}_file={file}" for name, file in where.items()),
        f"data.eval_files={{june: {where['test']}}}",
        *("train.max_steps=2", "lora=attention", "tracking.register=pairs@champion"),
    ]
    cfg = composed(*options, "tracking.system_metrics=true")
    check(cfg, [])
    times: list[float] = []
    made = card.card_of

    def timed(*given: Any) -> str:
        begin = time.monotonic()
        text = made(*given)
        times.append(time.monotonic() - begin)
        metrics = {**given[4]["test"].metrics, "matthews": math.nan, "mine": math.nan}
        scored = {**given[4], "test": replace(given[4]["test"], metrics=metrics)}
        table = score_table({name: result.metrics for name, result in scored.items()}, {})
        assert not re.search(r"\bnan\b|mine", made(*given[:4], scored, table, *given[6:]))
        return text

    monkeypatch.setattr("expkit.experiment.card_of", timed)
    run_id = run(cfg, {}, typed=options).run_id
    assert times[0] < 0.5  # 0.1 s on a machine that does nothing else

    client = MlflowClient()
    version = client.get_model_version_by_alias("pairs", "champion")
    logged = logged_run(run_id)
    assert (version.run_id, version.source) == (run_id, logged.model_uri())
    assert [m.step for m in client.get_metric_history(run_id, CPU)] == [0]
    model = mlflow.models.get_model_info("models:/pairs@champion")
    assert model.signature.outputs.input_names() == ["label", "probability", "probabilities"]
    assert model.saved_input_example_info

    file = project / "outputs" / "runs" / run_id / "model" / "README.md"
    text = file.read_text(encoding="utf-8")
    assert (
        text
        == (Path(mlflow.artifacts.download_artifacts(model.model_uri)) / "README.md").read_text()
    )
    assert not re.search(f"{project}|Acme|secret|it's", text)
    assert "'data.train_file=train 1.jsonl'" in text
    assert "first test 1.jsonl, line" in text
    assert "A BertForSequenceClassification that" in text
    assert f"python -m expkit.predict {run_id} --text 'a text' 'a text'" in text
    data = ModelCard.load(file).data
    scores = {(r.dataset_split, r.metric_type): r.metric_value for r in data.eval_results}
    metrics = logged.run.data.metrics
    assert scores["validation", "accuracy"] == metrics["final/accuracy"]
    assert scores["test", "f1"] == metrics["test/f1"]
    assert {r.dataset_name for r in data.eval_results} == {"validation 1", "test 1"}
    assert {split for split, _ in scores} == {"validation", "test", "june"}
    assert data.pipeline_tag == "text-classification"
    assert "lora" in data.tags
    bounds = re.search(r"accuracy \| [\d.]+ \((\S+) to (\S+)\)", text)
    assert bounds is not None
    low, high = map(float, bounds.groups())
    assert low <= metrics["final/accuracy"] <= high
    assert low < high
    assert run_id in text
    assert "test: inputs that stand in train" in text

    cfg = composed(*options, "resume=auto", "tracking.register=more")
    check(cfg, [])
    other = run(cfg, {}, typed=options)
    assert other.run_id == run_id
    assert client.get_registered_model("more").latest_versions[0].run_id == run_id
    register(client, run_id, "pairs", "champion")
    assert client.get_model_version_by_alias("pairs", "champion").version == version.version


@pytest.mark.slow
def test_the_best_job_of_a_sweep_gets_the_alias(
    expkit: Command, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lrs = "optimizer.lr=1e-2,1e-9"
    few = (*TINY, "data.sizes.train=128", "train.max_steps=16", "tracking.register=mrpc@champion")
    done = expkit("-m", lrs, "objective=eval/loss", *few)
    assert done.returncode == 0, done.stderr
    runs = {run.info.run_id: run for run in runs_of(project)}
    mlflow.set_tracking_uri(f"sqlite:///{project}/outputs/mlflow.db")
    client = MlflowClient()
    versions = client.search_model_versions("name = 'mrpc'")
    assert len({version.run_id for version in versions}) == 2
    best = min(versions, key=lambda version: runs[version.run_id].data.metrics["final/loss"])
    assert client.get_model_version_by_alias("mrpc", "champion").version == best.version
    assert "registered mrpc@champion, version" in done.stdout

    again = expkit(
        "-m", lrs, "objective=eval/loss", *few[:-1], "tracking.register=more", "resume=auto"
    )
    assert "2 of them had finished before" in again.stdout, again.stderr
    more = client.search_model_versions("name = 'more'")
    assert {v.run_id for v in more} == {v.run_id for v in versions}

    rows = [
        Row(name, {}, "FINISHED", "eval/loss", 0.5, run_id, register="mrpc@champion")
        for name, run_id in zip("ab", sorted(v.run_id for v in versions), strict=True)
    ]
    opened = SweepRun(client, "", "", "", False, frozenset())
    opened._register_models(rows, rows)
    assert "mrpc@champion stays as it is" in capsys.readouterr().out
    assert client.get_model_version_by_alias("mrpc", "champion").version == best.version
    opened._register_models([replace(row, register=row.name) for row in rows], [])
    for row in rows:
        (version,) = client.search_model_versions(f"name = '{row.name}'")
        assert version.run_id == row.run_id
