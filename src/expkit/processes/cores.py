"""The cores of this machine, and each process's share of them."""

import os


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_cores(processes: int) -> int:
    """Return how many threads each of so many processes may use if they run at once."""
    return max(cores() // max(processes, 1), 1)
