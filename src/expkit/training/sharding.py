"""`launch.fsdp=true`: each process keeps a part of the weights, gradients and optimizer state.

torch's `fully_shard` (https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html) gathers a
layer when it is computed. For an evaluation, the whole model is gathered, because generating a
translation takes a different number of steps in each process.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from expkit.models.head import inner_model
from expkit.processes.group import device
from expkit.processes.ranks import count
from expkit.terminal.errors import UserError


def to_device(model: nn.Module) -> None:
    """Move the model to the device of this process, in place."""
    model.to(device())


def shard_if_asked(model: nn.Module, launch: Any, precision: str) -> None:
    """Divide the weights among the processes, in place, if `launch.fsdp` is set and there are several.

    Raises:
        UserError: a sharded model cannot be trained in this precision.
    """
    if launch.fsdp and precision == "fp16":
        raise UserError("launch.fsdp=true: cannot train in fp16; allowed: bf16, fp32, tf32")
    if not launch.fsdp or count() == 1:
        return
    inner = inner_model(model)
    layers = set(getattr(inner, "_no_split_modules", None) or ())
    mesh = init_device_mesh(device().type, (count(),))
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for module in list(model.modules()):
        # A tied weight belongs to several modules, so it stays with the outermost one.
        is_tied = any(uses[id(p)] > 1 for p in module.parameters())
        if type(module).__name__ in layers and not is_tied:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def is_sharded(model: nn.Module) -> bool:
    """Whether the weights of the model are divided among the processes."""
    return isinstance(model, FSDPModule)


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Gather all weights in each process for a while. All processes have to call this."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)


def full(tensor: Any) -> Any:
    """Gather a sharded tensor; return anything else as it is. All processes have to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def as_part_of(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this process keeps if `like` is sharded, else the whole tensor."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        tensor = tensor.to(like.device)
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return tensor


def sync_on_last(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Sum the gradients of all processes in the backward pass of the last micro-batch only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
    elif isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
