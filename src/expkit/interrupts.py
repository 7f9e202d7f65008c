"""Ctrl-C and SIGTERM: the first waits for the end of a step, the second Ctrl-C does not."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from expkit.ranks import count, is_main

# The third is what Slurm sends by submitit some time before it kills.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


@contextmanager
def stops_after_step() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop; a second SIGINT raises KeyboardInterrupt at once.

    A second SIGTERM does not: who gets the Ctrl-C of a terminal may get a SIGTERM of its parent too.
    """
    asked = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not asked:
            _tell(f"{signal.Signals(signum).name}: stopping after this step; Ctrl-C: at once")
        asked = True

    with _handled_by(handle):
        yield lambda: asked


def ignore_termination() -> None:
    """SIGTERM does not count any more in one of several processes: it ends already."""
    if count() > 1 and current_thread() is main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """A signal is ignored meanwhile, and by processes that are started meanwhile for ever."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def ends_jobs_first(end_jobs: Callable[[], None]) -> Iterator[None]:
    """While jobs run in processes of their own: the first signal lets them finish their steps.

    A launcher that is interrupted kills its processes without waiting.
    """
    asked = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            _tell(
                f"{signal.Signals(signum).name}: the jobs stop after their steps; Ctrl-C: at once"
            )
            end_jobs()
        elif signum != signal.SIGINT:
            return
        raise KeyboardInterrupt

    with _handled_by(handle):
        yield


@contextmanager
def _handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Only the main thread of a process gets signals; those that are ignored stay so."""
    if current_thread() is not main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [n for n, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _tell(message: str) -> None:
    """Not by print: the signal may have come in the middle of another one."""
    if not is_main():
        return
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{message}\n".encode())
