"""Find out which of the processes of a run this one is.

torchrun, accelerate and expkit.processes.launch say it in environment variables:
https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import os
from collections.abc import Sequence

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
BY_MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # accelerate reads them


def to_do(variables: Sequence[str] = NUMBERS) -> str:
    """What to do about variables that describe this process wrongly."""
    return (
        f"if these variables are left over from another program, run: unset {' '.join(variables)}; "
        "launch.processes and torchrun start several processes (docs/several-processes.md)"
    )


def misdescribed() -> str | None:
    """What is wrong with the description of this process in the environment, or None.

    The description of a single process is removed, because otherwise Accelerate would open connections.
    """
    ranks = {os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK")}
    if os.environ.get("WORLD_SIZE") == "1" and ranks == {"0"}:
        for name in NUMBERS:
            os.environ.pop(name, None)
    if not any(name in os.environ for name in NUMBERS):
        by_mpi = [name for name in BY_MPI if (_number(name) or 1) > 1]
        given = " ".join(f"{name}={os.environ[name]}" for name in by_mpi)
        why = "but no RANK and WORLD_SIZE: this process does not know which it is"
        return f"{given}, {why}; {to_do(by_mpi)}" if by_mpi else None
    wrong = [name for name in NUMBERS if name in os.environ and _number(name) is None]
    absent = [name for name in NEEDED if not os.environ.get(name)]
    if wrong:
        return f"{described()}: {' and '.join(wrong)} must be whole numbers from 0; {to_do()}"
    if absent:
        return f"{described()}, but no {' and '.join(absent)}: {to_do()}"
    if int(os.environ["RANK"]) >= int(os.environ["WORLD_SIZE"]):
        return f"{described()}: RANK counts from 0, so it must be less than WORLD_SIZE; {to_do()}"
    return None


def described() -> str:
    """What the environment says about this process."""
    given = (name for name in dict.fromkeys((*NUMBERS, *NEEDED)) if name in os.environ)
    return " ".join(f"{name}={os.environ[name]}" for name in given)


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else None


def count() -> int:
    """The number of processes that train together."""
    return (_number("WORLD_SIZE") or 1) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0."""
    return (_number("RANK") or 0) if count() > 1 else 0


def local_rank() -> int:
    """The number of this process among those on its machine, from 0."""
    return (_number("LOCAL_RANK") or 0) if count() > 1 else 0


def local_count() -> int:
    """The number of processes on this machine."""
    return (_number("LOCAL_WORLD_SIZE") or count()) if count() > 1 else 1


def is_main() -> bool:
    """Whether this is the process that writes, prints, and speaks to MLflow."""
    return rank() == 0
