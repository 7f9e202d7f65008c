"""LoRA: what is adapted, and that all saved forms of a model say the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import PreTrainedModel

from expkit.models import lora
from expkit.models.head import head_modules, untied_parts
from expkit.terminal.errors import UserError

VOCABULARY = 50
Build = Callable[[], PreTrainedModel]


def bert(cls: str) -> Build:
    def build() -> PreTrainedModel:
        config = transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
        return getattr(transformers, cls)(config)

    return build


def distilbert() -> PreTrainedModel:
    config = transformers.DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=1, n_heads=2, hidden_dim=32
    )
    return transformers.DistilBertForSequenceClassification(config)


def t5() -> PreTrainedModel:
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


def marian() -> PreTrainedModel:
    config = transformers.MarianConfig(
        vocab_size=VOCABULARY,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=32,
        pad_token_id=0,
        eos_token_id=1,
        forced_eos_token_id=1,
        decoder_start_token_id=0,
    )
    return transformers.MarianMTModel(config)


CASES: dict[str, tuple[Build, Any]] = {
    "classifier": (bert("BertForSequenceClassification"), ["query", "value"]),
    "head among the targets": (
        bert("BertForSequenceClassification"),
        ["query", "key", "value", "classifier"],
    ),
    "all linear with a head": (bert("BertForSequenceClassification"), "all-linear"),
    "head of two layers": (distilbert, ["q_lin", "pre_classifier"]),
    "tokens": (bert("BertForTokenClassification"), ["query"]),
    "tied output": (bert("BertForMaskedLM"), "all-linear"),
    "tied embedding adapted": (bert("BertForMaskedLM"), ["word_embeddings", "query"]),
    "tied decoder adapted": (bert("BertForMaskedLM"), ["decoder"]),
    "t5": (t5, "all-linear"),
    "marian": (marian, ["q_proj", "v_proj"]),
}


def seeded(build: Build) -> PreTrainedModel:
    torch.manual_seed(0)
    return build().eval()


def adapted(build: Build, wanted: Any) -> PeftModel:
    """A model with LoRA whose trained weights have moved."""
    settings = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": wanted}
    model = lora.apply(seeded(build), settings)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.requires_grad):
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(3, 19).reshape(2, 8)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :5] + 1
    with torch.inference_mode():
        return model(**inputs).logits


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("build", "wanted"), CASES.values(), ids=list(CASES))
def test_adapter_merged_and_reloaded_agree(build: Build, wanted: Any, tmp_path: Path) -> None:
    model = adapted(build, wanted)
    trained = logits(model)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    merged = lora.merge(model).eval()
    merged_logits = logits(merged)
    merged.save_pretrained(tmp_path / "merged")
    reloaded = type(merged).from_pretrained(tmp_path / "merged").eval()
    with_adapter = PeftModel.from_pretrained(seeded(build), tmp_path / "adapter").eval()

    assert (logits(seeded(build)) - trained).abs().max() > 0.02, "training changed nothing"
    torch.testing.assert_close(merged_logits, trained, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(reloaded), trained, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(with_adapter), trained, rtol=0, atol=0)


def test_head_is_trained_and_saved_in_full(tmp_path: Path) -> None:
    model = adapted(bert("BertForSequenceClassification"), ["query", "classifier"])
    assert not [n for n, _ in model.named_parameters() if "classifier" in n and "lora" in n]
    model.save_pretrained(tmp_path)
    assert "base_model.model.classifier.weight" in load_file(tmp_path / "adapter_model.safetensors")


def test_all_linear_takes_every_layer_of_the_body_and_no_other() -> None:
    model = seeded(bert("BertForSequenceClassification"))
    names = lora.targets(model, "all-linear", head_modules(model))
    assert len(names) == 6  # query, key, value and three dense layers
    assert not [name for name in names if "classifier" in name or "pooler" in name]


@pytest.mark.parametrize("wanted", [["query", "valu"], ["nothing"]])
def test_every_target_has_to_match(wanted: list[str]) -> None:
    model = seeded(bert("BertForSequenceClassification"))
    with pytest.raises(UserError, match=rf"'{wanted[-1]}' matches no module.*allowed: .*value"):
        lora.targets(model, wanted, head_modules(model))


def test_nothing_but_the_head_is_refused() -> None:
    model = seeded(bert("BertForSequenceClassification"))
    with pytest.raises(UserError, match="nothing but the head"):
        lora.targets(model, ["classifier"], head_modules(model))


@pytest.mark.parametrize(("build", "wanted"), [(t5, ["shared"]), (marian, ["lm_head"])])
def test_an_embedding_that_is_shared_several_times_is_refused(
    build: Build, wanted: list[str]
) -> None:
    with pytest.raises(UserError, match="shares its weight"):
        adapted(build, wanted)


@pytest.mark.parametrize(
    ("build", "heads", "parts"),
    [
        (
            bert("BertForSequenceClassification"),
            ["bert.pooler", "classifier"],
            ["bert.pooler", "classifier"],
        ),
        (distilbert, ["pre_classifier", "classifier"], ["pre_classifier", "classifier"]),
        (bert("BertForMaskedLM"), ["cls"], ["cls.predictions.transform"]),
        (t5, [], []),
    ],
)
def test_head_is_what_the_body_does_not_hold(
    build: Build, heads: list[str], parts: list[str]
) -> None:
    model = seeded(build)
    assert head_modules(model) == heads
    assert [part for head in heads for part in untied_parts(model, head)] == parts
