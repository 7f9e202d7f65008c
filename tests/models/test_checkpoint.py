"""Weights that a checkpoint lacks are the same ones in every run, and none is left as raw memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from expkit.models.checkpoint import Checkpoint
from expkit.tasks.interface import Head
from small_tokenizers import wordpiece

SIZES = {
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads"), 1),
}
# Kinds of models whose masked LM heads have a bias that transformers does not initialise (5.23), and two
# of which it initialises all weights.
KINDS: dict[str, dict[str, Any]] = {
    "Longformer": {"attention_window": 4},
    "Nystromformer": {},
    "FNet": {},
    "Data2VecText": {},
    "Bert": {},
    "Roberta": {},
}


@pytest.mark.parametrize("name", KINDS)
def test_new_weights_are_initialised(name: str, tmp_path: Path) -> None:
    config = getattr(transformers, f"{name}Config")(**SIZES, **KINDS[name])
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        rubbish = [
            torch.full((32,), 1e30) for _ in range(100)
        ]  # memory that will be handed out again
        del rubbish
        models.append(
            Checkpoint(str(tmp_path)).build(Head("AutoModelForMaskedLM"), wordpiece(["a"]))
        )
    one, other = (model.state_dict() for model in models)
    for key, weight in one.items():
        assert weight.isfinite().all(), key
        assert torch.equal(weight, other[key]), key
        if key.endswith("bias") and not key.startswith(models[0].base_model_prefix):
            assert not weight.any(), key
    assert torch.get_deterministic_debug_mode() == 0


def test_what_is_in_the_checkpoint_stays(tmp_path: Path) -> None:
    config = transformers.LongformerConfig(**SIZES, **KINDS["Longformer"])
    model = transformers.LongformerForMaskedLM(config)
    torch.nn.init.ones_(model.lm_head.bias)
    model.save_pretrained(tmp_path)
    loaded = Checkpoint(str(tmp_path)).build(Head("AutoModelForMaskedLM"), wordpiece(["a"]))
    assert (loaded.lm_head.bias == 1).all()
