"""The last layer is computed where it is needed, and nothing that is used changes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from expkit.models.last_layer import BERT_LIKE, last_layer_at

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
NEEDED = torch.tensor([[True, False, False, True, False], [False, True, False, False, False]])


def model_of(model_type: str, auto_class: str) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SIZES)
    return getattr(transformers, auto_class).from_config(config).eval()


def inputs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(2, 5, dtype=torch.long)
    mask[1, 3:] = 0
    return {"input_ids": torch.randint(2, 40, (2, 5)), "attention_mask": mask}


def gradients(model: Any, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits.square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model_type", BERT_LIKE)
def test_a_classifier_reads_the_first_position_alone(model_type: str) -> None:
    model = model_of(model_type, "AutoModelForSequenceClassification")
    whole = model(**inputs()).logits
    needed = gradients(model, whole)
    seen: list[torch.Size] = []
    layer = model.base_model.encoder.layer[-1]
    handle = layer.output.register_forward_hook(lambda m, i, out: seen.append(out.shape))
    with last_layer_at(model, lambda states: states[:, :1]):
        logits = model(**inputs()).logits
    handle.remove()
    assert seen == [torch.Size([2, 1, 16])], "the other positions are not computed"
    torch.testing.assert_close(logits, whole)
    same(gradients(model, logits), needed)


@pytest.mark.parametrize("model_type", BERT_LIKE)
def test_hidden_words_need_their_positions_alone(model_type: str) -> None:
    model = model_of(model_type, "AutoModelForMaskedLM")
    whole = model(**inputs()).logits[NEEDED]
    needed = gradients(model, whole)
    with last_layer_at(model, lambda states: states[NEEDED]):
        logits = model(**inputs()).logits
    torch.testing.assert_close(logits, whole)
    same(gradients(model, logits), needed)


def checkpointed(model: Any) -> None:
    model.gradient_checkpointing_enable()


def chunked(model: Any) -> None:
    model.config.chunk_size_feed_forward = 5


@pytest.mark.parametrize("change", [checkpointed, chunked])
def test_a_layer_that_is_computed_in_another_way_is_left_alone(
    change: Callable[[Any], None],
) -> None:
    model = model_of("bert", "AutoModelForSequenceClassification").train()
    change(model)
    with last_layer_at(model, lambda states: states[:, :1]):
        assert not model.bert.encoder.layer[-1].attention.output._forward_pre_hooks


class MeanPooled(transformers.BertForSequenceClassification):
    """A head of somebody else, which reads all positions."""


def test_a_head_of_somebody_else_is_left_alone() -> None:
    config = transformers.AutoConfig.for_model("bert", **SIZES)
    model = MeanPooled(config)
    with last_layer_at(model, lambda states: states[:, :1]):
        assert not model.bert.encoder.layer[-1].attention.output._forward_pre_hooks


def test_models_of_another_kind_are_left_alone() -> None:
    config = transformers.DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2)
    model = transformers.DistilBertForSequenceClassification(config).eval()
    whole = model(**inputs()).logits
    with last_layer_at(model, lambda states: states[:, :1]):
        torch.testing.assert_close(model(**inputs()).logits, whole)
