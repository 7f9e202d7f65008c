"""Parameter groups, and schedules as functions of an optimizer and the number of steps."""

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Trained weights in two groups; vectors (biases and norms) are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, object]] = []
    if matrices:
        groups.append({"params": matrices})
    if vectors:
        groups.append({"params": vectors, "weight_decay": 0.0})
    return groups


def constant(optimizer: Optimizer, total_steps: int, warmup_ratio: float) -> LambdaLR:
    """Warm up, then keep the learning rate."""
    return get_constant_schedule_with_warmup(optimizer, round(warmup_ratio * total_steps))


def linear(optimizer: Optimizer, total_steps: int, warmup_ratio: float) -> LambdaLR:
    """Warm up, then fall to 0 in a straight line."""
    return get_linear_schedule_with_warmup(
        optimizer, round(warmup_ratio * total_steps), total_steps
    )


def cosine(optimizer: Optimizer, total_steps: int, warmup_ratio: float) -> LambdaLR:
    """Warm up, then fall to 0 along half a cosine (Loshchilov and Hutter, 2017)."""
    return get_cosine_schedule_with_warmup(
        optimizer, round(warmup_ratio * total_steps), total_steps
    )
