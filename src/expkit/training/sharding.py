"""`launch.fsdp=true`: each process keeps a part of the weights, gradients and optimizer state.

torch's `fully_shard` (https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html): a layer
is gathered when it is computed. For an evaluation the whole model is gathered, since generating a
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
    """Divide the weights among the processes if `launch.fsdp` says so and there are several.

    Raises:
        UserError: such a model cannot be trained in that precision.
    """
    if launch.fsdp and precision == "fp16":
        raise UserError("launch.fsdp=true: cannot train in fp16; allowed: bf16, fp32, tf32")
    if launch.fsdp and count() > 1:
        shard(model)


def shard(model: nn.Module) -> None:
    """Divide the weights of `model` among the processes, in place; its layers are gathered one by one."""
    inner = inner_model(model)
    layers = set(getattr(inner, "_no_split_modules", None) or ())
    mesh = init_device_mesh(device().type, (count(),))
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for module in list(model.modules()):
        is_tied = any(uses[id(p)] > 1 for p in module.parameters())  # left to the whole model
        if type(module).__name__ in layers and not is_tied:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was called for it."""
    return isinstance(model, FSDPModule)


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """All weights in each process for a while; to be called in all of them."""
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
    """A tensor with all of its parts; anything else as it is. To be called in all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def as_part_of(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What this process keeps of a whole tensor, if `like` is kept in parts."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        tensor = tensor.to(like.device)
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return tensor


def sync_on_last(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """For the backward pass of a micro-batch; the last one of a step sums up over the processes."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
    elif isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
