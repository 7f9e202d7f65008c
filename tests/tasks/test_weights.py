"""Weights of labels and smoothed targets: torch's own loss over a whole step, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from sklearn.utils.class_weight import compute_class_weight
from transformers import BertConfig

from conftest import SMALL_TASKS, composed
from expkit.config.components import make
from expkit.data.splits import Split, Splits
from expkit.experiment import Prepared, prepare
from expkit.tasks.text_classification import TextClassification
from expkit.tasks.token_classification import TokenClassification
from expkit.tasks.weights import weights_of
from expkit.terminal.errors import DataError, UserError
from expkit.training.evaluation import evaluate
from expkit.training.interface import StepResult

STEPS, RATE = 5, 1e-2
SMOOTHING = "task.label_smoothing=0.1"
WORKS = {
    "text_classification": ("task.class_weights=balanced", SMOOTHING),
    "token_classification": ("task.class_weights=balanced", SMOOTHING),
    "multilabel_classification": ("task.class_weights=balanced", SMOOTHING),
    "translation": (SMOOTHING,),
}


def prepared_for(task: str, *overrides: str) -> Prepared:
    """56 examples in micro-batches of 8 and steps of three: the last step of an epoch has one.

    In double precision, or rounding would hide an error of 1e-6 of the gradients.
    """
    prepared = prepare(
        composed(
            *SMALL_TASKS[task],
            *("data.sizes.train=56", "train.accumulation=3", f"train.max_steps={STEPS}"),
            *("lora=none", "model.dropout=0", "optimizer=sgd", f"optimizer.lr={RATE}"),
            "optimizer.momentum=0",
            "scheduler.warmup_ratio=0",
            *("train.max_grad_norm=null", "train.group_by_length=false", "scheduler=constant"),
            *overrides,
        )
    )
    prepared.training.model.double()
    return prepared


def by_sklearn(prepared: Prepared) -> torch.Tensor:
    """Out of the labels of the words or texts of the training split; for several labels n_neg / n_pos."""
    if prepared.training.model.config.problem_type == "multi_label_classification":
        positive = np.asarray(prepared.encoded["train"]["labels"][:]).mean(0)
        return torch.from_numpy((1 - positive) / positive)
    labels = np.concatenate([np.ravel(row) for row in prepared.encoded["train"]["labels"]])
    found = np.unique(labels[labels >= 0])
    weights = torch.ones(prepared.training.model.config.num_labels, dtype=torch.float64)
    balanced = compute_class_weight("balanced", classes=found, y=labels[labels >= 0])
    weights[torch.from_numpy(found)] = torch.from_numpy(balanced)
    return weights


def by_torch(prepared: Prepared, weights: torch.Tensor | None) -> tuple[list[float], list[float]]:
    """Losses and norms of the gradients, where all targets of a step are given to torch at once."""
    model, losses, norms = prepared.training.model.train(), [], []
    for step in range(STEPS):
        batches = prepared.training.steps[step]
        assert len(batches) == (1 if step == 2 else 3)
        inputs = [{k: v for k, v in b.items() if k not in ("labels", "scored")} for b in batches]
        logits = torch.cat([model(**of_batch).logits.flatten(0, -2) for of_batch in inputs])
        labels = torch.cat(
            [
                b["labels"] if b["labels"].is_floating_point() else b["labels"].flatten()
                for b in batches
            ]
        )
        if labels.is_floating_point():
            loss = several(logits, labels.double(), weights)
        else:
            loss = F.cross_entropy(logits, labels, weight=weights, label_smoothing=0.1)
        loss.backward()
        given = [p for p in model.parameters() if p.grad is not None]
        norms.append(float(torch.stack([p.grad.norm() for p in given]).norm()))
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in given:
                parameter -= RATE * parameter.grad
                parameter.grad = None
    return losses, norms


def several(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    """The loss of several labels: each that an example has counts its weight, and each other 1."""
    assert weights is not None
    targets = labels * 0.9 + 0.05
    loss = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="sum")
    return loss / torch.where(labels == 1, weights, 1).sum()


def weights(prepared: Prepared) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in prepared.training.model.parameters()])


@pytest.mark.parametrize("backend", ["torch", "trainer"])
@pytest.mark.parametrize("task", WORKS)
def test_losses_and_gradients_are_those_of_torch_over_the_whole_step(
    task: str, backend: str
) -> None:
    prepared = prepared_for(task, *WORKS[task], f"backend={backend}")
    other = prepared_for(task)  # the same first weights
    before, steps = weights(prepared), list[StepResult]()
    prepared.backend.fit(prepared.training, lambda result: bool(steps.append(result)))
    of_labels = None if task == "translation" else by_sklearn(other)
    losses, norms = by_torch(other, of_labels)
    assert [float(step.loss) for step in steps] == pytest.approx(losses, abs=1e-6)
    assert [float(step.grad_norm) for step in steps] == pytest.approx(norms, rel=1e-6)
    update, expected = weights(prepared) - before, weights(other) - before
    # The losses of single targets are computed in fp32.
    assert float((update - expected).norm() / expected.norm()) < 3e-6


@pytest.mark.parametrize("task", WORKS)
def test_evaluations_do_not_know_of_them(task: str) -> None:
    plain, other = prepared_for(task), prepared_for(task, *WORKS[task])
    one, two = (
        evaluate(p.training.model, p.task, p.eval_sets["validation"]).metrics
        for p in (plain, other)
    )
    assert one == two
    batch = plain.training.steps[0][0]
    model = plain.training.model.eval()
    with torch.no_grad():
        trained = [p.task.training_loss(model, batch)[0] for p in (plain, other)]
        assert torch.equal(trained[0], plain.task.loss(model, batch)[0])
    assert float(trained[1]) != pytest.approx(float(trained[0]), rel=1e-6)
    assert plain.task.training_weight(batch) == plain.task.count_targets(batch)


NAMES = ["a", "b", "c"]


def test_named_weights_and_balanced_ones() -> None:
    def counts() -> dict[str, int]:
        return {"a": 6, "b": 3, "c": 1}

    assert weights_of(None, NAMES, counts, "x") is None
    named = weights_of({"c": 5, "a": 0.5}, NAMES, counts, "x")
    assert named is not None
    assert named.tolist() == [0.5, 1.0, 5.0]
    balanced = weights_of("balanced", NAMES, counts, "x")
    y = np.repeat([0, 1, 2], [6, 3, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert balanced is not None
    assert balanced.tolist() == pytest.approx(expected.tolist())
    several = weights_of("balanced", NAMES, counts, "x", examples=8)
    assert several is not None
    assert several.tolist() == pytest.approx([2 / 6, 5 / 3, 7])


def test_labels_that_cannot_have_a_weight() -> None:
    with pytest.raises(UserError, match=r"class_weights: 'bb' is no label; .*did you mean 'b'"):
        weights_of({"a": 1, "bb": 2}, [*NAMES], dict, "x")
    with pytest.raises(DataError, match=r"x: .*balanced: no example has the label 'b', .*\{a: 2\}"):
        weights_of("balanced", NAMES, lambda: {"a": 1, "b": 0}, "x")
    with pytest.raises(DataError, match=r"every example has the label 'a'"):
        weights_of("balanced", NAMES, lambda: {"a": 4, "b": 2}, "x", examples=4)


def texts(*labels: str) -> Split:
    rows = Dataset.from_list([{"text": f"t {i}", "label": x} for i, x in enumerate(labels)])
    return Split(rows, "s", "some data", str(labels), lambda i: f"some data, example {i + 1}")


def classifier(**settings: Any) -> TextClassification:
    given = {"text_columns": ["text"], **settings}
    options = [f"task.{key}={json.dumps(value)}" for key, value in given.items()]
    task: TextClassification = make(composed(*options), "task")
    return task


def test_a_label_that_only_the_list_has_cannot_be_balanced() -> None:
    train = texts("yes", "no", "yes", "yes")
    settings = {"labels": ["no", "yes", "perhaps"], "class_weights": "balanced"}
    with pytest.raises(DataError, match=r"some data: .* no example has the label 'perhaps'"):
        classifier(**settings).setup(Splits(train, train))
    task = classifier(class_weights="balanced")
    task.setup(Splits(train, texts("no")))
    assert task.training_weight({"labels": torch.tensor([0, 1, 1])}) == pytest.approx(2 + 4 / 3)


def test_other_data_need_not_have_all_labels() -> None:
    """`evaluate` sets a task up with the data that are to be scored, which say nothing of the weights."""
    task = classifier(class_weights="balanced")
    names = {0: "no", 1: "yes", 2: "perhaps"}
    task.adopt(BertConfig(id2label=names, label2id={v: k for k, v in names.items()}))
    task.setup(Splits(texts("yes", "no"), texts("yes", "no")))
    assert task.training_weight({"labels": torch.tensor([0, 2])}) == 2


def test_tags_that_no_word_has_count_one() -> None:
    rows = Dataset.from_list([{"tokens": list("abcd"), "ner_tags": ["O", "O", "B-PER", "O"]}])
    split = Split(rows, "s", "some data", "0", str)
    options = ("task=token_classification", "task.class_weights=balanced")
    task: TokenClassification = make(composed(*options), "task")
    task.setup(Splits(split, split))
    labels = torch.tensor([[0, -100], [1, 2]])  # O, B-PER and I-PER
    assert task.training_weight({"labels": labels}) == pytest.approx(4 / 6 + 4 / 2 + 1)
    named = make(composed(options[0], "task.class_weights={B-PR:2}"), "task")
    with pytest.raises(UserError, match=r"'B-PR' is no label; .*did you mean 'B-PER'"):
        named.setup(Splits(split, split))


class OwnLoss(TextClassification):
    """Half of the loss."""

    def loss(self, model: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        loss, logits = super().loss(model, batch)
        return loss / 2, logits


def test_a_loss_of_the_users_own_is_what_is_trained_with() -> None:
    given: dict[str, Any] = dict(composed().task, metrics={})
    del given["_target_"]
    OwnLoss(**given)
    for settings in ({"class_weights": "balanced"}, {"label_smoothing": 0.1}):
        with pytest.raises(UserError, match=r"would leave out OwnLoss\.loss"):
            OwnLoss(**given | settings)
