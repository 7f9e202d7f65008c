"""Ctrl-C, SIGTERM and similar signals: a run stops after its step, or at once on a second Ctrl-C."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Any

from expkit.processes.ranks import count, is_main

# Signals that end a process besides Ctrl-C: those of `kill`, of a terminal that closes, and of
# schedulers that are about to kill it. Some systems lack some of them.
NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
ENDING = tuple(number for number in signal.Signals if number.name in NAMES)
SIGNALS = (signal.SIGINT, *ENDING)
ENDS_WITHIN = 30.0  # seconds that a run has to send its last entries after a signal

_came_late = Event()


def end_on_signals() -> None:
    """Let signals end a run as Ctrl-C does. Ignored ones stay ignored, such as SIGHUP under `nohup`."""
    if current_thread() is main_thread():
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def stops_after_step() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether to stop. A second SIGINT raises KeyboardInterrupt at once."""
    asked = Event()

    def first(name: str) -> None:
        _tell(f"{name}: stopping after this step (press Ctrl-C to stop now)")
        asked.set()

    with _heard(first, _interrupt):
        yield asked.is_set


@contextmanager
def ends_first(hurry: Callable[[float], None] | None = None) -> Iterator[None]:
    """Protect a block that logs how a run or a sweep has ended: signals do not cut it off.

    Call `raise_late` before another run is started.

    Args:
        hurry: called with the seconds that are left, after the first signal and after a later Ctrl-C.
    """
    _came_late.clear()

    def first(name: str) -> None:
        _came_late.set()
        if hurry:
            _tell(
                f"{name}: the run has ended; sending its last entries to MLflow (press Ctrl-C to quit now)"
            )
            hurry(ENDS_WITHIN)

    with _heard(first, lambda: hurry(0.0) if hurry else None):
        yield


def raise_late() -> None:
    """Raise KeyboardInterrupt if a signal came while the last run was ending."""
    if _came_late.is_set():
        _came_late.clear()
        raise KeyboardInterrupt


def ignore_termination() -> None:
    """Ignore signals in one of several processes, because it is about to end."""
    if count() > 1 and current_thread() is main_thread():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """Ignore a signal in the block. Processes that are started in the block go on ignoring it."""
    with _handled({number: signal.SIG_IGN}):
        yield


@contextmanager
def ends_jobs_first(end_jobs: Callable[[], None] | None = None) -> Iterator[None]:
    """Run jobs in processes of their own, and let them finish their steps after the first signal.

    Otherwise, a launcher that is interrupted would kill its processes at once.

    Args:
        end_jobs: sends the signal to the jobs; None: the launcher does that, and the jobs print their
            own messages.
    """

    def first(name: str) -> None:
        if end_jobs:
            _tell(f"{name}: the jobs stop after their steps (press Ctrl-C to stop now)")
            end_jobs()
        raise KeyboardInterrupt

    with _heard(first, _interrupt):
        yield


@contextmanager
def _heard(first: Callable[[str], None], again: Callable[[], None]) -> Iterator[None]:
    """Let the first signal call `first` with its name, and a later SIGINT call `again`.

    Other later signals do nothing, because one event can send two signals: a process that gets a Ctrl-C
    from its terminal may get a SIGTERM from its parent too. Ignored signals stay ignored.
    """
    has_come = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal has_come
        if not has_come:
            has_come = True
            first(signal.Signals(signum).name)
        elif signum == signal.SIGINT:
            again()

    heard = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    with _handled(dict.fromkeys(heard, handle)):
        yield


@contextmanager
def _handled(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Replace the handlers of signals in the block. In other threads than the main one, do nothing."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(message: str) -> None:
    """Write a line to stderr. `print` cannot be used, as the signal may have interrupted one."""
    if not is_main():
        return
    with suppress(OSError):  # raised if nobody reads it
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{message}\n".encode())
