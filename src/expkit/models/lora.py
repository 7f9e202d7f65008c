"""LoRA: which modules are adapted, and how the result becomes an ordinary model again.

Hu et al., 2021, https://arxiv.org/abs/2106.09685, as implemented by PEFT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from expkit.models.head import head_modules, untied_parts
from expkit.terminal.errors import UserError, nearest

if TYPE_CHECKING:  # imported where it is used: a run without LoRA starts without it
    from peft import PeftModel

ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)
TASK_TYPES = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "MTModel": "SEQ_2_SEQ_LM",
}


def apply(model: PreTrainedModel, settings: Mapping[str, Any]) -> PeftModel:
    """Adapt `settings["target_modules"]` and train the head in full. Changes `model` in place.

    A head among the targets is trained in full as well: a low-rank update of random weights that
    are not saved could not be loaded again.

    Raises:
        UserError: a target matches no module.
    """
    from peft import LoraConfig, get_peft_model

    heads = [part for head in head_modules(model) for part in untied_parts(model, head)]
    adapted = targets(model, settings["target_modules"], heads)
    _refuse_shared_embeddings(model, adapted)
    config = LoraConfig(
        r=settings["r"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=adapted,
        modules_to_save=heads or None,
        task_type=next((t for name, t in TASK_TYPES.items() if name in type(model).__name__), None),
    )
    return get_peft_model(model, config)


def targets(model: PreTrainedModel, wanted: str | Sequence[str], heads: Sequence[str]) -> list[str]:
    """The modules to adapt: the entries themselves, or full names where an entry also meets the head.

    Raises:
        UserError: an entry matches no module that can be adapted, or only the head is left.
    """
    modules = {n: m for n, m in model.named_modules() if isinstance(m, ADAPTABLE)}
    in_body = [
        n for n in modules if not n.startswith(tuple(f"{h}." for h in heads)) and n not in heads
    ]
    if wanted == "all-linear":
        output = model.get_output_embeddings()
        linear = [n for n in in_body if not isinstance(modules[n], nn.Embedding)]
        return [n for n in linear if modules[n] is not output]
    matches = {
        entry: [n for n in modules if n == entry or n.endswith(f".{entry}")] for entry in wanted
    }
    for entry, names in matches.items():
        if not names and entry not in heads:
            last_parts = sorted({n.rpartition(".")[2] for n in modules})
            raise UserError(
                f"lora.target_modules: {entry!r} matches no module of {type(model).__name__}; "
                f"{nearest(entry, last_parts)}"
            )
    found = {name for names in matches.values() for name in names}
    if found <= set(in_body):
        return list(wanted)
    left = [name for name in in_body if name in found]
    if not left:
        raise UserError(
            f"lora.target_modules={list(wanted)}: names nothing but the head, which is trained in full anyway"
        )
    return left


def _refuse_shared_embeddings(model: PreTrainedModel, adapted: Sequence[str]) -> None:
    """Encoder and decoder share one embedding, and no checkpoint can hold it changed in one place."""
    if not model.config.is_encoder_decoder:
        return
    shared = _shared_weights(model)
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if name.endswith(tuple(adapted)) and isinstance(module, ADAPTABLE) and id(weight) in shared:
            raise UserError(
                f"lora.target_modules: {name!r} of {type(model).__name__} shares its weight with other "
                "modules; adapt attention or feed-forward layers instead"
            )


@torch.no_grad()
def merge(model: PeftModel) -> PreTrainedModel:
    """Fold the adapter into the weights; the result is an ordinary model without PEFT.

    Changes `model` in place. A weight that is tied to that of another module is copied before its
    update is added, or the update would reach the other module as well (peft #2018, #2777).
    """
    from peft.tuners.lora import LoraLayer

    base = model.get_base_model()
    shared = _shared_weights(base)
    for layer in (m for m in base.modules() if isinstance(m, LoraLayer)):
        inner = layer.get_base_layer()
        if id(inner.weight) in shared:
            inner.weight = nn.Parameter(inner.weight.clone(), requires_grad=False)
            base.config.tie_word_embeddings = False
    return model.merge_and_unload(safe_merge=True)


def _shared_weights(model: nn.Module) -> set[int]:
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    return {key for key, count in uses.items() if count > 1}


def trainable_parameters(model: nn.Module) -> int:
    """How many weights are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
