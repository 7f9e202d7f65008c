"""Optimizer steps: every example once an epoch, in an order that only the seed decides."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from datasets import Dataset

from expkit.data.steps import Steps

LENGTHS = [3 + (7 * i) % 23 for i in range(101)]


def collate(examples: list[dict[str, Any]], seeds: Sequence[int]) -> dict[str, torch.Tensor]:
    ids = torch.tensor([example["id"] for example in examples])
    return {"ids": ids, "seeds": torch.tensor(seeds)}


def steps(**changes: Any) -> Steps:
    settings = {
        "batch_size": 4,
        "accumulation": 3,
        "epochs": 2,
        "max_steps": None,
        "group_by_length": True,
        "seed": 1,
    }
    examples = Dataset.from_dict({"id": range(len(LENGTHS))})
    return Steps(examples, LENGTHS, collate, **{**settings, **changes})


@pytest.mark.parametrize("group_by_length", [True, False])
def test_an_epoch_has_every_example_once_and_ceil_of_batches_by_accumulation_steps(
    group_by_length: bool,
) -> None:
    plan = steps(group_by_length=group_by_length)
    assert plan.steps_per_epoch == math.ceil(math.ceil(101 / 4) / 3) == 9
    assert len(plan) == 18
    for epoch in range(2):
        seen = [i for step in range(9) for batch in plan.indices(9 * epoch + step) for i in batch]
        assert sorted(seen) == list(range(101))
        assert len(plan.indices(9 * epoch + 8)) == 2, "the last step is short, not filled up"


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert [steps().indices(i) for i in range(18)] == [steps().indices(i) for i in range(18)]
    assert steps().indices(0) != steps(seed=2).indices(0)
    assert steps().indices(0) != steps().indices(9)


def test_max_steps_wins_over_epochs_and_goes_on_into_further_epochs() -> None:
    assert len(steps(max_steps=5)) == 5
    assert len(steps(max_steps=100)) == 100
    assert steps(max_steps=100).indices(99)


def test_grouping_by_length_leaves_little_padding_but_keeps_the_order_random() -> None:
    def padding(plan: Steps) -> int:
        batches = [batch for step in range(9) for batch in plan.indices(step)]
        return sum(
            max(LENGTHS[i] for i in b) * len(b) - sum(LENGTHS[i] for i in b) for b in batches
        )

    assert padding(steps()) < 0.3 * padding(steps(group_by_length=False))
    longest = [max(LENGTHS[i] for i in batch) for s in range(9) for batch in steps().indices(s)]
    assert longest != sorted(longest)


def test_any_step_can_be_the_first() -> None:
    whole = list(steps().loader())
    rest = list(steps().loader(start=11))
    assert len(rest) == 7
    for one, other in zip(whole[11:], rest, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a["ids"], b["ids"])
            assert torch.equal(a["seeds"], b["seeds"])


def test_seed_of_an_example_depends_on_the_epoch_but_not_on_its_batch() -> None:
    def seeds(plan: Steps, epoch: int) -> dict[int, int]:
        first = epoch * plan.steps_per_epoch
        batches = [b for s in range(first, first + plan.steps_per_epoch) for b in plan[s]]
        return {
            int(i): int(seed) for b in batches for i, seed in zip(b["ids"], b["seeds"], strict=True)
        }

    assert seeds(steps(), 0) == seeds(steps(batch_size=7, accumulation=1), 0)
    assert seeds(steps(), 0) != seeds(steps(), 1)
    assert len(set(seeds(steps(), 0).values())) == 101


def test_loading_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(steps().loader())
    assert torch.equal(torch.rand(1), expected)
