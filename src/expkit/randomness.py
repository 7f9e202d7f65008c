"""Where random numbers come from."""

import random

import numpy as np
import torch


def seed_step(seed: int, step: int) -> None:
    """Seed every generator from the run's seed and the number of the optimizer step.

    Dropout then depends on nothing that happened before: not on the backend, not on an evaluation
    in between, not on whether the run was resumed.
    """
    state = np.random.SeedSequence((seed, step)).generate_state(1)
    random.seed(int(state[0]))
    np.random.seed(state)
    torch.manual_seed(int(state[0]))
