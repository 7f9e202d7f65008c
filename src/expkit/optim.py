"""Parameter groups, and schedules as functions of an optimizer and the number of steps."""

import math
from collections.abc import Callable
from typing import Annotated

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from expkit.config.constraints import at_least

Share = Annotated[float, at_least(0, below=1)]


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Trained weights in two groups; vectors (biases and norms) are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in trained if p.ndim > 1]},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def constant(optimizer: Optimizer, total_steps: int, warmup_ratio: Share) -> LambdaLR:
    """Warm up, then keep the learning rate."""
    return _warmed_up(optimizer, total_steps, warmup_ratio, lambda share: 1.0)


def linear(optimizer: Optimizer, total_steps: int, warmup_ratio: Share) -> LambdaLR:
    """Warm up, then fall to 0 in a straight line."""
    return _warmed_up(optimizer, total_steps, warmup_ratio, lambda share: 1.0 - share)


def cosine(optimizer: Optimizer, total_steps: int, warmup_ratio: Share) -> LambdaLR:
    """Warm up, then fall to 0 along half a cosine (Loshchilov and Hutter, 2017)."""
    return _warmed_up(
        optimizer, total_steps, warmup_ratio, lambda share: (1.0 + math.cos(math.pi * share)) / 2
    )


def _warmed_up(
    optimizer: Optimizer, total_steps: int, warmup_ratio: float, rest: Callable[[float], float]
) -> LambdaLR:
    """Rise from 0 in a straight line, then follow `rest`, a function of the share that is done.

    Those of transformers are the same; importing them takes PEFT along, 0.2 s before the first step.
    """
    warmup = round(warmup_ratio * total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return rest(min((step - warmup) / max(total_steps - warmup, 1), 1.0))

    return LambdaLR(optimizer, factor)
