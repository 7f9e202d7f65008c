"""Evaluation: all examples, in order, independent of the batch size, without dropout."""

from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import TINY, composed
from expkit.experiment import Prepared, prepare
from expkit.tasks.text_classification import TextClassification
from expkit.terminal.errors import UserError
from expkit.training.evaluation import EvalSet, evaluate, inference


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(composed(*TINY, "lora=none"))


def of_size(data: EvalSet, batch_size: int) -> EvalSet:
    return EvalSet(data.split, data.encoded, data.tokenizer, data.collate, batch_size)


def test_metrics_do_not_depend_on_the_batch_size(prepared: Prepared) -> None:
    data = prepared.eval_sets["validation"]
    model = prepared.training.model
    whole, parts = (evaluate(model, prepared.task, of_size(data, size)) for size in (32, 5))
    assert parts.metrics == pytest.approx(whole.metrics, abs=1e-6)
    torch.testing.assert_close(torch.tensor(parts.predictions), torch.tensor(whole.predictions))


def test_predictions_are_in_the_order_of_the_split(prepared: Prepared) -> None:
    data = prepared.eval_sets["validation"]
    model = prepared.training.model
    all_at_once = evaluate(model, prepared.task, data).predictions
    for i in (0, 7, 31):
        batch = data.batch([i])
        with inference(model):
            _, logits = prepared.task.loss(model, batch)
        assert logits[0].tolist() == pytest.approx(all_at_once[i], abs=1e-6)


@pytest.mark.parametrize("mode", [True, False])
def test_model_is_put_back_into_the_mode_it_was_in(prepared: Prepared, mode: bool) -> None:
    model = prepared.training.model.train(mode)
    with inference(model):
        assert not model.training
        assert not torch.is_grad_enabled()
    assert model.training is mode
    assert torch.is_grad_enabled()


def test_dropout_is_off(prepared: Prepared) -> None:
    model = prepared.training.model.train()
    data = prepared.eval_sets["validation"]
    one, other = (evaluate(model, prepared.task, data).predictions for _ in range(2))
    assert one == other


def test_a_loss_that_is_no_sum_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = TextClassification.loss

    def mean(self: Any, model: Any, batch: Any) -> Any:
        total, logits = real(self, model, batch)
        return total / len(logits), logits

    prepare(composed(*TINY))
    assert "has to be the sum" not in capsys.readouterr().out
    monkeypatch.setattr(TextClassification, "loss", mean)
    prepare(composed(*TINY))
    assert "TextClassification.loss of two examples is " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        (
            "loss",
            lambda made: made[0],
            "loss: expected the summed loss and the logits, got a Tensor",
        ),
        ("predictions", lambda made: made[1:], r"predictions: .* each of the 32 .* got list of 31"),
        ("predictions", torch.tensor, r"predictions: expected a list .* got Tensor of 32"),
        ("labels", lambda made: list(made)[1:], r"labels: expected a number for each of the 64 "),
        ("labels", lambda made: [str(label) for label in made], r"labels: expected a number .*'"),
    ],
)
def test_what_a_task_returns_wrongly_is_one_message(
    method: str, wrong: Any, message: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(TextClassification, method)
    monkeypatch.setattr(TextClassification, method, lambda *args: wrong(real(*args)))

    def scored() -> None:
        prepared = prepare(composed(*TINY))
        data = of_size(prepared.eval_sets["validation"], 32)
        evaluate(prepared.training.model, prepared.task, data)

    with pytest.raises(UserError, match=message):
        scored()
