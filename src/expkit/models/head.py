"""The head that a task needs, and which part of a model it is: the rest is the pretrained body."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.terminal.errors import UserError

NEEDED = {
    "AutoModelForSeq2SeqLM": "an encoder-decoder such as Marian or T5",
    "AutoModelForMaskedLM": "a masked language model such as BERT",
}


@dataclass(frozen=True)
class Head:
    """The model class that a task needs, by its name in transformers, and what goes into its config.

    `configure` gets the model as it was built, and its tokenizer, for settings that depend on them
    or that they lack; it raises a UserError for a model that the task cannot work with. It is called
    before any text is encoded, and again for each copy of the model.
    """

    auto_class: str
    config: dict[str, Any] = field(default_factory=dict)
    configure: Callable[[PreTrainedModel, Tokenizer], None] | None = None


def auto_class(head: Head, config: PretrainedConfig, given: str) -> Any:
    """The auto class of transformers that makes models of this type with this head.

    Args:
        given: the key and the value that led to `config`, for the message.

    Raises:
        UserError: there is no such head for this type of model.
    """
    found = getattr(transformers, head.auto_class)
    if type(config) not in found._model_mapping:
        needed = NEEDED.get(head.auto_class, f"one that {head.auto_class} can make")
        raise UserError(
            f"{given}: is a model of type {config.model_type}, but the task needs {needed}"
        )
    return found


def inner_model(model: nn.Module) -> PreTrainedModel | None:
    """The model of transformers inside wrappers such as PEFT's; None if there is none."""
    return next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)


def head_modules(model: PreTrainedModel) -> list[str]:
    """Names of the modules that lead from the body's hidden states to the task's output.

    In BertForSequenceClassification these are `classifier` and `bert.pooler`: many checkpoints come
    without a pooler or with one that was never trained, so it has to learn with the head. A module
    all of whose weights are tied to the body (the output embedding of T5) is no head.
    """
    body = {id(p) for p in model.base_model.parameters()}
    if model.base_model is model:
        return []
    heads = [
        name
        for name, module in model.named_children()
        if module is not model.base_model and any(id(p) not in body for p in module.parameters())
    ]
    pooler = getattr(model.base_model, "pooler", None)
    return [f"{model.base_model_prefix}.pooler", *heads] if pooler is not None else heads


def untied_parts(model: PreTrainedModel, head: str) -> list[str]:
    """The largest submodules of a head that share no weight with the rest of the model.

    A head with a tied output embedding (BertForMaskedLM) cannot be copied as a whole without
    cutting the tie, so its untied parts are named instead.
    """
    module = model.get_submodule(head)
    named = model.named_parameters(remove_duplicate=False)
    outside = {id(p) for name, p in named if not name.startswith(f"{head}.")}

    def parts(name: str, module: nn.Module) -> list[str]:
        parameters = list(module.parameters())
        if not parameters:
            return []
        if all(id(p) not in outside for p in parameters):
            return [name]
        return [n for child, m in module.named_children() for n in parts(f"{name}.{child}", m)]

    return parts(head, module)
