"""Numbers for texts: the loss, units, what is found in the data, and what a finished run gives."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from conftest import SMALL_TASKS, TINY, Command, composed, only_run
from expkit.data.inspection import inspected, lines
from expkit.data.splits import Splits
from expkit.experiment import prepare
from expkit.metrics.outcomes import FILE, read
from expkit.terminal.errors import DataError
from expkit.tracking.logged import logged_run
from expkit.training.evaluation import evaluate

SMALL = SMALL_TASKS["text_regression"]
FILES = ("data=files", "data.train_file=train.jsonl", "data.validation_file=validation.jsonl")
ON_FILES = ("task=text_regression", *(o for o in TINY if not o.startswith("data.")), *FILES)


def write(project: Path, train: list[Any], validation: list[Any], text: str = "text {}") -> None:
    for name, scores in (("train", train), ("validation", validation)):
        records = [{"text": text.format(i), "score": score} for i, score in enumerate(scores)]
        (project / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))


@pytest.mark.parametrize(
    ("loss", "reference"),
    [("mse", F.mse_loss), ("l1", F.l1_loss), ("huber", F.smooth_l1_loss)],
)
def test_the_loss_is_that_of_standardised_targets(
    loss: str, reference: Callable[..., torch.Tensor], project: Path
) -> None:
    """Also where the targets are far from 0; and its gradients are those of torch."""
    write(project, [1e6, 1e6 + 1.5, 1e6 + 400, 999_000.25], [1e6, 1e6 + 3])
    prepared = prepare(composed(*ON_FILES, f"task.loss={loss}", "lora=none", "model.dropout=0"))
    model, task = prepared.training.model, prepared.task
    true = np.array(prepared.encoded["train"]["labels"][:])
    assert true.tolist() == [1e6, 1e6 + 1.5, 1e6 + 400, 999_000.25]
    collate = task.collator(prepared.tokenizer, model)
    batch = collate([prepared.encoded["train"][i] for i in range(4)], [0] * 4)
    expected = torch.tensor((true - true.mean()) / true.std(), dtype=torch.float32)
    assert torch.equal(batch["labels"], expected)

    total, logits = task.loss(model, batch)
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    reached = reference(model(**inputs).logits[:, 0], expected, reduction="sum")
    assert total.item() == pytest.approx(reached.item(), rel=1e-6)
    assert task.count_targets(batch) == 4
    weights = list(model.parameters())
    ours, theirs = (torch.autograd.grad(x, weights, allow_unused=True) for x in (total, reached))
    assert all(
        torch.allclose(a, b, rtol=1e-6, atol=1e-7)
        for a, b in zip(ours, theirs, strict=True)
        if a is not None
    )
    predicted = task.predictions(model, prepared.tokenizer, batch, logits)
    assert predicted == pytest.approx(
        logits[:, 0].detach().double().numpy() * true.std() + true.mean()
    )


def test_whole_numbers_fractions_and_texts_are_numbers(project: Path) -> None:
    write(project, [1, 2.5, 3, -4], [1])
    (project / "validation.csv").write_text("text,score\na,1e2\nb,-.5\n")
    prepared = prepare(composed(*ON_FILES, "data.validation_file=validation.csv"))
    assert prepared.encoded["train"]["labels"][:] == [1, 2.5, 3, -4]
    assert prepared.encoded["validation"]["labels"][:] == [100, -0.5]
    facts = prepared.task.describe(prepared.splits, prepared.tokenizer)
    assert facts["train: score"] == "mean 0.625, sd 2.77, -4 to 3"
    baseline = prepared.task.baseline(prepared.splits, prepared.encoded)
    errors = np.abs(np.subtract([100, -0.5], 0.625))
    assert baseline["mean_mae"] == pytest.approx(errors.mean())
    assert baseline["mean_mse"] == pytest.approx((errors**2).mean())
    assert set(baseline) == {"mean_mae", "mean_mse", "mean_r2"}  # no correlation of equal numbers


def test_a_trained_model_scores_targets_that_are_all_equal(project: Path) -> None:
    """Nothing is learned from them, and the model standardises them as those that it has learned from."""
    write(project, [3, 5], [7, 7])
    prepared = prepare(composed(*ON_FILES))
    task, validation = prepared.task, prepared.splits.validation
    with pytest.raises(DataError, match="there is nothing to learn"):
        task.setup(Splits(validation, validation))
    task.adopt(prepared.training.model.config)
    task.setup(Splits(validation, validation))
    batch = prepared.eval_sets["validation"].batch([0, 1])
    assert batch["labels"].tolist() == [3, 3]


def test_an_input_with_two_numbers_is_found(project: Path) -> None:
    write(project, [1, 2, 2.0, 3], [1], text="the same")
    prepared = prepare(composed(*ON_FILES))
    splits = prepared.splits.named()
    report = inspected(prepared.task, splits, prepared.encoded, prepared.tokenizer)
    assert report["train"]["labels"] == {}
    assert report["train"]["ambiguous"]["count"] == 1
    said = "\n".join(lines(report))
    assert "WARNING: train: inputs with several answers: 1 of 4, first train.jsonl, line 2" in said
    assert "labels" not in said


@pytest.mark.slow
@pytest.mark.parametrize("lora", ["none", "attention"])
def test_what_is_exported_gives_numbers_in_their_own_units(
    lora: str, project: Path, expkit: Command
) -> None:
    """By a plain pipeline, by MLflow, and by `predict`, all as the run has predicted."""
    rng = np.random.default_rng(0)
    write(project, *(rng.normal(5000, 300, size=n).tolist() for n in (32, 16)))
    done = expkit(*ON_FILES, f"lora={lora}", "train.max_steps=6", "optimizer.lr=1e-2")
    assert done.returncode == 0, done.stderr
    run = only_run(project)
    metrics = run.data.metrics
    (outcomes,) = read(logged_run(run.info.run_id).artifact(f"eval/{FILE}") or Path())
    predicted = np.array(outcomes.predictions)
    assert 4000 < predicted.min() < predicted.max() < 6000
    errors = predicted - outcomes.references
    assert metrics["final/mae"] == pytest.approx(np.abs(errors).mean())
    true = [json.loads(line)["score"] for line in Path("train.jsonl").read_text().splitlines()]
    assert metrics["final/loss"] == pytest.approx((errors**2).mean() / np.var(true), rel=1e-4)

    folder = str(project / "outputs" / "runs" / run.info.run_id / "model")
    texts = [f"text {i}" for i in range(16)]
    plain = pipeline("text-classification", folder, device="cpu")(texts)
    assert {answer["label"] for answer in plain} == {"score"}
    assert [answer["score"] for answer in plain] == pytest.approx(predicted, rel=1e-6)
    mlflow.set_tracking_uri(f"sqlite:///{project}/outputs/mlflow.db")
    (logged,) = run.outputs.model_outputs
    served = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(texts)
    assert served["prediction"].tolist() == pytest.approx(predicted, rel=1e-6)
    done = expkit(run.info.run_id, "--file", "validation.jsonl", module="expkit.predict")
    answers = [json.loads(line)["predictions"][0] for line in done.stdout.splitlines()]
    assert [answer["prediction"] for answer in answers] == pytest.approx(predicted, abs=0.01)
    pictures = [path.name for path in project.glob("outputs/**/scatter.png")]
    assert pictures == ["scatter.png"]

    if lora == "none":  # what was learned is where the next training begins
        options = [o for o in ON_FILES if not o.startswith("model")]
        begun = prepare(composed(*options, "model=checkpoint", f"model.path={folder}"))
        ids = AutoTokenizer.from_pretrained(folder)(texts[:1], return_tensors="pt")
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        (wanted,) = model(**ids).logits[0].tolist()
        begun.training.model.eval()
        answer = begun.task.answer(begun.training.model, begun.tokenizer, [{"text": texts[0]}])
        assert answer == [[{"prediction": pytest.approx(wanted, abs=0.01)}]]
        assert not begun.training.model.config.gives_targets


@pytest.mark.slow
@pytest.mark.parametrize("column", ["score", "other"])
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_head_of_numbers_goes_on_or_starts_anew(
    is_ours: bool, column: str, project: Path
) -> None:
    """It gives targets, whoever has trained it; a new one begins near their mean."""
    rng = np.random.default_rng(0)
    for name in ("train", "validation"):
        targets = rng.normal(500, 2, size=32).tolist()
        records = [{"text": f"text {i}", column: target} for i, target in enumerate(targets)]
        (project / f"{name}.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    first = prepare(composed(*ON_FILES, "lora=none", f"task.label_column={column}"))
    model, folder = first.training.model, project / "first"
    first.task.finish(model)
    names = {"score": "score"} if is_ours else {"score": "LABEL_0"}
    model.config.id2label = {0: names["score"]}
    model.config.label2id = {names["score"]: 0}
    if not is_ours:
        del model.config.gives_targets, model.config.target_mean, model.config.target_scale
    model.save_pretrained(folder)
    first.tokenizer.save_pretrained(folder)
    options = [o for o in ON_FILES if not o.startswith("model")]
    begun = prepare(
        composed(
            *options, "model=checkpoint", f"model.path={folder}", f"task.label_column={column}"
        )
    )
    scores = evaluate(begun.training.model, begun.task, begun.eval_sets["validation"]).metrics
    assert scores["loss"] < 10
    assert scores["mae"] < 20


@pytest.mark.slow
def test_a_run_whose_predictions_are_all_equal_ends_with_a_result_that_is_not_defined(
    project: Path, expkit: Command
) -> None:
    write(project, [1, 2, 3, 4] * 4, [1, 2, 3, 4], text="the same")
    done = expkit(*ON_FILES, "train.max_steps=3", "train.eval_every=1", "tracking.log_model=false")
    assert done.returncode == 0, done.stderr
    metrics = only_run(project).data.metrics
    assert math.isnan(metrics["final/pearson"])
    assert math.isnan(metrics["final/spearman"])
    assert metrics["final/mae"] > 0


def test_a_model_whose_last_layer_has_no_bias_says_what_it_learns(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets are divided by their root mean square."""
    (project / "builder.py").write_text(
        "import transformers\n"
        "from expkit.models.scratch import TinyBert\n"
        "class Tiny:\n"
        "    path = 'tiny'\n"
        "    def __init__(self, attention_modules): pass\n"
        "    def tokenizer(self, texts):\n"
        "        return TinyBert(200, 8, 1, 1, 0.0).tokenizer(texts)\n"
        "    def build(self, head, tokenizer):\n"
        "        config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1,\n"
        "            n_head=1, pad_token_id=tokenizer.pad_token_id, **head.config)\n"
        "        return getattr(transformers, head.auto_class).from_config(config)\n"
    )
    monkeypatch.syspath_prepend(project)
    write(project, [3, 5], [1])
    without = [f"~model.{k}" for k in ("vocab_size", "hidden_size", "layers", "heads", "dropout")]
    options = [o for o in ON_FILES if not o.startswith("model.")]
    prepared = prepare(composed(*options, "model._target_=builder.Tiny", "lora=none", *without))
    said = capsys.readouterr().out
    assert "GPT2ForSequenceClassification has no bias" in said
    assert "it learns score / 4.123" in said
    assert prepared.training.model.config.target_mean == 0
    batch = next(iter(prepared.training.steps.loader(0)))[0]
    assert sorted(batch["labels"].tolist()) == pytest.approx([3 / 17**0.5, 5 / 17**0.5])
