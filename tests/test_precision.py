"""Which number format is taken, and what follows from it for attention and evaluation."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForSequenceClassification, BertConfig

from conftest import TINY, composed
from expkit import precision
from expkit.errors import UserError
from expkit.evaluation import evaluate
from expkit.experiment import prepare

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="is about CPUs")


@needs_cpu
@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "taken"),
    [(True, False, "bf16"), (False, True, "bf16"), (True, True, "bf16"), (False, False, "fp32")],
)
def test_auto_takes_bf16_where_the_cpu_multiplies_it(
    amx: bool, avx512_bf16: bool, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    assert precision.choose("auto") == taken
    assert precision.choose("fp32") == "fp32"
    assert precision.choose("bf16") == "bf16"
    with pytest.raises(UserError, match="fp16: needs a CUDA GPU; allowed here: auto, fp32, bf16"):
        precision.choose("fp16")


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


class Conversions(TorchDispatchMode):
    """Counts how often each of some tensors is converted."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.counts = {tensor.data_ptr(): 0 for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() in self.counts:
            self.counts[args[0].data_ptr()] += 1
        return func(*args, **(kwargs or {}))


def test_weights_are_converted_once_for_a_whole_evaluation(project: Path) -> None:
    """Also the frozen ones of a model with LoRA, which stay frozen."""
    prepared = prepare(composed(*TINY, "lora=attention", "eval.batch_size=4"))
    model, data = prepared.training.model, prepared.eval_sets["validation"]
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    with Conversions(p for p in model.parameters() if p.ndim == 2) as conversions:
        evaluate(model, prepared.task, data, "bf16")
    assert len(data.encoded) > 4 * 4
    assert set(conversions.counts.values()) <= {0, 1}
    assert sum(conversions.counts.values()) > 10
    assert [name for name, p in model.named_parameters() if p.requires_grad] == trained
