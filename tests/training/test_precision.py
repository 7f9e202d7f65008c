"""Which number format is taken, and what follows from it for attention and evaluation."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from conftest import TINY, composed
from expkit.experiment import prepare
from expkit.terminal.errors import UserError
from expkit.training import precision
from expkit.training.evaluation import evaluate

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="is about CPUs")


@needs_cpu
@pytest.mark.parametrize(("amx", "avx512_bf16"), [(True, False), (False, True), (False, False)])
def test_cpus_that_multiply_bf16(
    amx: bool, avx512_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    assert precision.has_fast_bf16() == (amx or avx512_bf16)


@needs_cpu
def test_what_a_cpu_does_not_have() -> None:
    for wanted in ("auto", "fp32", "bf16"):
        precision.require(wanted)
    with pytest.raises(UserError, match="fp16: needs a CUDA GPU; allowed here: auto, fp32, bf16"):
        precision.require("fp16")


@needs_cpu
@pytest.mark.parametrize(
    ("multiplied", "max_length", "attention"),
    [("bf16", 256, "eager"), ("bf16", 257, "sdpa"), ("fp32", 128, "sdpa")],
)
def test_short_inputs_in_bf16_get_plain_attention(
    multiplied: str, max_length: int, attention: str, tmp_path: Path
) -> None:
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_labels=2
    )
    model = AutoModelForSequenceClassification.from_config(config)
    precision.choose_attention(model, multiplied, max_length)
    assert model.config._attn_implementation == attention
    precision.choose_attention(model, "fp32", max_length)
    assert model.config._attn_implementation == "sdpa", "its own again"
    precision.choose_attention(model, multiplied, max_length)
    model.save_pretrained(tmp_path)
    reloaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert reloaded.config._attn_implementation == "sdpa", "is no part of what is saved"


def test_evaluation_multiplies_in_the_precision_of_the_run(project: Path) -> None:
    prepared = prepare(composed(*TINY, "model.dropout=0"))
    model, data = prepared.training.model, prepared.eval_sets["validation"]
    seen: set[torch.dtype] = set()
    model.bert.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda module, inputs, output: seen.add(output.dtype)
    )
    losses = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        seen.clear()
        losses[name] = evaluate(model, prepared.task, data, name).metrics["loss"]
        assert seen == {dtype}
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert all(p.dtype == torch.float32 for p in model.parameters())
