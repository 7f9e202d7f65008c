"""Seeds the random generators."""

import random

import numpy as np
import torch


def seed_batch(seed: int, step: int, position: int) -> None:
    """Seed every generator from the run's seed, the optimizer step, and the micro-batch within it.

    So dropout depends on nothing that happened before: neither on the backend, an evaluation in
    between or a resumed run, nor on which process has the micro-batch.
    """
    state = np.random.SeedSequence((seed, step, position)).generate_state(1)
    random.seed(int(state[0]))
    np.random.seed(state)
    # torch.manual_seed would record a stack trace for each kind of device that is not in use.
    torch.default_generator.manual_seed(int(state[0]))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(int(state[0]))
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(int(state[0]))
