"""What a task has without saying it, and what is told before training."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import TINY, composed
from expkit.comparison.paired import statistics_pairs
from expkit.config.checks import check
from expkit.config.components import make
from expkit.data.files import read
from expkit.experiment import prepare
from expkit.metrics.outcomes import Outcomes
from expkit.models.head import Head
from expkit.tasks.masked_lm import MaskedLM
from expkit.tasks.serving import SERVED, require_served
from expkit.tasks.text_classification import TextClassification
from expkit.terminal.errors import ConfigError, DataError, UserError
from expkit.tracking.note import score_table
from in_processes import Numbers

NUMBERS = Numbers(["a", "b"], "label", 8)


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        ([0, 1, 2], 3),
        ([[-100, 3], [-100, -100]], 1),
        ([-100.0, 0.5], 2),
        ([[0.1, 0.2], [0.3, 0.4]], 4),
    ],
)
def test_whole_numbers_are_classes_of_which_one_marks_no_target(labels: Any, count: int) -> None:
    assert NUMBERS.count_targets({"labels": torch.tensor(labels)}) == count


@pytest.mark.parametrize("value", ["x", None, True, "", "nan", "1e999", [1.0]])
def test_what_is_no_number_is_refused_with_its_place(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(json.dumps({"label": v}) for v in (value, value)))
    with pytest.raises(DataError, match=r"train.jsonl, line 1: label=.* is no number"):
        NUMBERS.labels(read(file))


def test_numbers_of_csv_are_texts(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("label\n1\n-2.5\n")
    assert read(file).numbers("label") == [1.0, -2.5]


def test_metrics_are_told_the_number_of_labels() -> None:
    """With three labels F1 is the macro average, also where only two of them occur."""
    task: TextClassification = make(composed("task.labels=[a,b,c]"), "task")
    predicted, true = [0, 1, 1, 0], [0, 1, 0, 0]
    macro = (4 / 5 + 2 / 3) / 2
    assert task.compute(predicted, true)["f1"] == pytest.approx(macro)
    seen = Outcomes("", ["f1"], predicted, true, settings=task.metric_arguments())
    settings = {"f1": {"_target_": "expkit.metrics.classification.F1"}}
    ((statistics, _),), _ = statistics_pairs([seen], [seen], (settings, settings))
    assert statistics.resampled(np.ones((1, 4)))["f1"] == pytest.approx(macro)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("", r"pipeline='': says not how to serve the model; allowed: text-classification"),
        ("text-clasification", r"did you mean 'text-classification'"),
        ("summarization", r"pipeline='summarization': a model cannot be served in this way"),
        ("fill-mask", r"AutoModelForMaskedLM, but the head .*; use 'text-classification'"),
    ],
)
def test_a_way_to_serve_that_there_is_not_is_told_before_training(
    pipeline: str, message: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextClassification, "pipeline", pipeline)
    with pytest.raises(UserError, match=message):
        prepare(composed(*TINY))
    assert prepare(composed(*TINY, "tracking.log_model=false"))


def test_a_head_that_nothing_serves_needs_no_model_in_mlflow(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MaskedLM, "head", lambda self: Head("AutoModelForMultipleChoice"))
    with pytest.raises(UserError, match=r"AutoModelForMultipleChoice; allowed: .*log_model=false"):
        prepare(composed("task=masked_lm", *TINY))


def test_a_number_is_not_served_as_its_sigmoid(monkeypatch: pytest.MonkeyPatch) -> None:
    require_served(NUMBERS)
    head = Head("AutoModelForSequenceClassification", {"num_labels": 1})
    monkeypatch.setattr(Numbers, "head", lambda self: head)
    with pytest.raises(UserError, match=r"would serve the sigmoid .*problem_type: regression"):
        require_served(NUMBERS)


def test_transformers_and_mlflow_know_the_pipelines() -> None:
    import mlflow.transformers
    import transformers
    from transformers.pipelines import SUPPORTED_TASKS

    for pipeline, auto_class in SERVED.items():
        if pipeline == "translation":  # expkit's own
            assert pipeline not in SUPPORTED_TASKS
            continue
        assert getattr(transformers, auto_class) in SUPPORTED_TASKS[pipeline]["pt"]
        name = SUPPORTED_TASKS[pipeline]["impl"].rpartition(".")[2]
        assert name in inspect.getsource(mlflow.transformers._TransformersWrapper._predict)


def test_a_class_that_is_no_task_is_one_message(project: Path) -> None:
    with pytest.raises(UserError, match=r"task\._target_=types\.SimpleNamespace: is not a task"):
        prepare(composed(*TINY, "task._target_=types.SimpleNamespace"))


def test_a_task_without_demo_data_needs_none_where_data_are_given(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    file = tmp_path / "train.csv"
    files = ("data=files", f"data.train_file={file}", f"data.validation_file={file}")
    check(composed("~demo", *files), [])
    with pytest.raises(ConfigError, match=r"^data=demo: the task has no demo data; take data=file"):
        check(composed("~demo"), [])


def test_a_task_without_a_baseline_has_empty_cells_for_it() -> None:
    header, rows = score_table({"validation": {"loss": 0.5}}, {})
    assert header == ["metric", "validation", "baseline"]
    assert rows == [["loss", "0.5000", ""]]
