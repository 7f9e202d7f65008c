"""Which of the processes of a run this one is, as torchrun, accelerate or expkit.launch has told it.

They say so in the environment: https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import os


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def local_rank() -> int:
    """Its number among those of this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", 0)) if count() > 1 else 0


def local_count() -> int:
    """How many of them this machine has."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", count())) if count() > 1 else 1


def is_main() -> bool:
    """Whether this is the process that writes, prints, and speaks to MLflow."""
    return rank() == 0
