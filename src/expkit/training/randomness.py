"""Where random numbers come from."""

import random

import numpy as np
import torch


def seed_batch(seed: int, step: int, position: int) -> None:
    """Seed every generator from the run's seed, the optimizer step, and the micro-batch within it.

    Dropout then depends on nothing that happened before: not on the backend, not on an evaluation
    in between, not on whether the run was resumed, nor on which process has the micro-batch.
    """
    state = np.random.SeedSequence((seed, step, position)).generate_state(1)
    random.seed(int(state[0]))
    np.random.seed(state)
    # torch.manual_seed would note a whole stack for each kind of device that is not in use.
    torch.default_generator.manual_seed(int(state[0]))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(int(state[0]))
