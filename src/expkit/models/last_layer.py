"""Computing the last layer of an encoder only where the task's head reads it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule

from expkit.models.head import inner_model

OWN_HEADS = "transformers.models."  # somebody else's head may read all positions
# Models with BERT's layers: `attention.output` and what follows work on each position by itself.
BERT_LIKE = ("bert", "camembert", "electra", "roberta", "xlm-roberta")


@contextmanager
def last_layer_at(
    model: torch.nn.Module, select: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Let the last layer of a BERT go on with some positions once they have attended to all.

    Its outputs, the loss and the gradients stay the same; three quarters of the layer's work is
    saved for all other positions. A model that is built in another way is left as it is.

    Args:
        select: the needed positions out of hidden states (batch, length, hidden size).
    """
    output = _attention_output(model)
    if output is None:
        yield
        return

    def keep(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(select(states) for states in inputs)

    handle = output.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _attention_output(model: torch.nn.Module) -> torch.nn.Module | None:
    inner = inner_model(model)
    # `fully_shard` puts a class of its own in front of the one that was written.
    written = type(inner).__mro__[2 if isinstance(inner, FSDPModule) else 0]
    if (
        inner is None
        or inner.config.model_type not in BERT_LIKE
        or not written.__module__.startswith(OWN_HEADS)
        or inner.config.is_decoder
        or inner.config.chunk_size_feed_forward  # cuts along the length
        or inner.is_activation_checkpointing  # computes the layer again without this hook
    ):
        return None
    layer: Any = inner.base_model.encoder.layer[-1]
    return layer.attention.output
