"""Parameter groups, and schedules as functions of an optimizer and the number of steps."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from math import cos, pi, sqrt
from typing import Annotated

from omegaconf import DictConfig
from torch import nn
from torch.nn.utils import skip_init
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from expkit.config.components import make
from expkit.config.constraints import at_least

Share = Annotated[float, at_least(0, below=1)]
Warmup = Annotated[int, at_least(0)] | None  # steps; None: the share `warmup_ratio` of all steps


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Trained weights in two groups; vectors (biases and norms) are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in trained if p.ndim > 1]},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def constant(
    optimizer: Optimizer, total_steps: int, warmup_ratio: Share, warmup_steps: Warmup = None
) -> LambdaLR:
    """Warm up, then keep the learning rate."""
    return _warmed_up(optimizer, total_steps, warmup_ratio, warmup_steps, lambda share: 1.0)


def linear(
    optimizer: Optimizer, total_steps: int, warmup_ratio: Share, warmup_steps: Warmup = None
) -> LambdaLR:
    """Warm up, then fall to 0 in a straight line."""
    return _warmed_up(optimizer, total_steps, warmup_ratio, warmup_steps, lambda share: 1.0 - share)


def cosine(
    optimizer: Optimizer, total_steps: int, warmup_ratio: Share, warmup_steps: Warmup = None
) -> LambdaLR:
    """Warm up, then fall to 0 along half a cosine (Loshchilov and Hutter, 2017)."""
    return _warmed_up(
        optimizer, total_steps, warmup_ratio, warmup_steps, lambda x: (1.0 + cos(pi * x)) / 2
    )


def wsd(
    optimizer: Optimizer,
    total_steps: int,
    warmup_ratio: Share,
    warmup_steps: Warmup,
    decay_ratio: Annotated[float, at_least(0, at_most=1)],
) -> LambdaLR:
    """Warm up, keep the rate, then let it fall to 0 along 1 - sqrt(share) in the last `decay_ratio` of all steps.

    See https://arxiv.org/abs/2404.06395 (Hu et al., 2024), and for the decay Hägele et al. (2024, 2405.18392).
    """
    return _warmed_up(
        optimizer, total_steps, warmup_ratio, warmup_steps, lambda x: 1.0 - sqrt(x), decay_ratio
    )


def _warmed_up(
    optimizer: Optimizer,
    total_steps: int,
    warmup_ratio: float,
    warmup_steps: int | None,
    rest: Callable[[float], float],
    falling: float = 1.0,
) -> LambdaLR:
    """Rise from 0 in a straight line, then follow `rest`, a function of the share that is done.

    `rest` begins after the warm-up, at the earliest in the last `falling` of all steps.
    Those of transformers are the same; importing them takes PEFT along, 0.2 s before the first step.
    """
    warmup = round(warmup_ratio * total_steps) if warmup_steps is None else warmup_steps
    flat = max(warmup, total_steps - round(falling * total_steps))

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return rest(min(max(step - flat, 0) / max(total_steps - flat, 1), 1.0))

    return LambdaLR(optimizer, factor)


def settings_by_step(cfg: DictConfig, total_steps: int) -> Iterator[list[dict[str, object]]]:
    """Yield what a schedule gives an optimizer, such as learning rates, before each step and after the last."""
    optimizer = make(cfg, "optimizer", parameter_groups(skip_init(nn.Linear, 1, 1)))  # not random
    scheduler = make(cfg, "scheduler", optimizer, total_steps=total_steps)
    for _ in range(total_steps + 1):
        yield [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        scheduler.step()


def digest_of_settings(cfg: DictConfig, total_steps: int, steps: int) -> str:
    """The digest of what a schedule gives an optimizer before each of the first `steps`, and after them."""
    made = hashlib.sha256()
    for settings in islice(settings_by_step(cfg, total_steps), steps + 1):
        made.update(repr(settings).encode())
    return made.hexdigest()


def common_steps(cfg: DictConfig, total_steps: int, longer: int) -> int:
    """How many first steps of a run a schedule leaves as they are in a `longer` one."""
    both = zip(settings_by_step(cfg, total_steps), settings_by_step(cfg, longer), strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
    return max(alike - 1, 0)  # after the last of them, both schedules have to agree too
