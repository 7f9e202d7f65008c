"""Parameter groups and schedules."""

import math

import pytest
import torch
from torch import nn

from conftest import composed
from expkit.optim import common_steps, constant, cosine, linear, parameter_groups, wsd


def test_biases_and_norms_are_not_decayed() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 2, bias=False))
    model[2].weight.requires_grad_(False)
    decayed, kept = parameter_groups(model)
    assert decayed == {"params": [model[0].weight]}
    assert kept["weight_decay"] == 0.0
    assert len(kept["params"]) == 3  # type: ignore[arg-type]


def test_weight_decay_reaches_the_matrices_only() -> None:
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(parameter_groups(layer), lr=0.1, weight_decay=0.5)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight, weight * (1 - 0.1 * 0.5))
    torch.testing.assert_close(layer.bias, bias)


@pytest.mark.parametrize(
    ("schedule", "at_half", "at_end"),
    [
        (constant, 1.0, 1.0),
        (linear, 5 / 9, 0.0),
        (cosine, (1 + math.cos(math.pi * 4 / 9)) / 2, 0.0),
    ],
)
def test_warm_up_then_shape(schedule: object, at_half: float, at_end: float) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = schedule(optimizer, total_steps=20, warmup_ratio=0.1)  # type: ignore[operator]
    rates = []
    for _ in range(20):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[:3] == [0.0, 0.5, 1.0]
    assert rates[10] == pytest.approx(at_half)
    assert scheduler.get_last_lr()[0] == pytest.approx(at_end, abs=1e-12)


def test_wsd_falls_at_the_end_only() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = wsd(optimizer, 20, warmup_ratio=0.5, warmup_steps=2, decay_ratio=0.2)
    rates = []
    for _ in range(20):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[:17] == [0.0, 0.5, *[1.0] * 15]
    assert rates[17:] == [1 - math.sqrt(done / 4) for done in (1, 2, 3)]
    assert scheduler.get_last_lr()[0] == 0.0


@pytest.mark.parametrize(
    ("options", "common"),
    [
        (("scheduler=constant", "scheduler.warmup_steps=5"), 20),
        (("scheduler=constant", "scheduler.warmup_ratio=0.2"), 0),
        (("scheduler=wsd", "scheduler.warmup_steps=5"), 16),
        (("scheduler=wsd", "scheduler.warmup_steps=null"), 0),
        (("scheduler=linear", "scheduler.warmup_steps=5"), 5),
        (("scheduler=cosine",), 0),
    ],
)
def test_the_schedule_says_which_steps_a_longer_run_leaves_as_they_are(
    options: tuple[str, ...], common: int
) -> None:
    state = torch.get_rng_state()
    assert common_steps(composed(*options), 20, 40) == common
    assert torch.equal(torch.get_rng_state(), state)
