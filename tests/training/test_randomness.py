"""Where random numbers come from."""

import numpy as np
import torch

from expkit.training.randomness import seed_batch


def test_seeding_keeps_no_stack_for_devices_that_are_not_there() -> None:
    """torch.manual_seed would add to this list at each step."""
    waiting = torch.cuda._queued_calls
    before = len(waiting)
    seed_batch(1, 2, 3)
    drawn = torch.rand(4)
    assert len(waiting) == before
    torch.manual_seed(int(np.random.SeedSequence((1, 2, 3)).generate_state(1)[0]))
    assert torch.equal(torch.rand(4), drawn), "the numbers are those of torch.manual_seed"
