"""Ctrl-C, SIGTERM and their kin: the first waits for the end of a step, the second Ctrl-C does not."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Any

from expkit.processes.ranks import count, is_main

# What ends a process besides Ctrl-C: `kill`, a terminal that closes, and what schedulers send some
# time before they kill. Not all systems have all of them.
NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
ENDING = tuple(number for number in signal.Signals if number.name in NAMES)
SIGNALS = (signal.SIGINT, *ENDING)
ENDS_WITHIN = 30.0  # seconds that a run has to send its last entries after a signal

_came_late = Event()


def end_on_signals() -> None:
    """Signals end a run as Ctrl-C does; those that are ignored (`nohup` does so) stay ignored."""
    if current_thread() is main_thread():
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def stops_after_step() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop; a second SIGINT raises KeyboardInterrupt at once."""
    asked = Event()

    def first(name: str) -> None:
        _tell(f"{name}: stopping after this step; Ctrl-C: at once")
        asked.set()

    with _heard(first, _interrupt):
        yield asked.is_set


@contextmanager
def ends_first(hurry: Callable[[float], None] | None = None) -> Iterator[None]:
    """While a run or a sweep says how it has ended, which a signal must not cut off.

    Whoever goes on with another run calls `raise_late` before.

    Args:
        hurry: called with the seconds that are left: after the first signal, and after a Ctrl-C then.
    """
    _came_late.clear()

    def first(name: str) -> None:
        _came_late.set()
        if hurry:
            _tell(f"{name}: the run has ended, and MLflow is being told; Ctrl-C: at once")
            hurry(ENDS_WITHIN)

    with _heard(first, lambda: hurry(0.0) if hurry else None):
        yield


def raise_late() -> None:
    """Raise KeyboardInterrupt if a signal came while the last run was ending."""
    if _came_late.is_set():
        _came_late.clear()
        raise KeyboardInterrupt


def ignore_termination() -> None:
    """Signals do not count any more in one of several processes: it ends already."""
    if count() > 1 and current_thread() is main_thread():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """A signal is ignored meanwhile, and by processes that are started meanwhile for ever."""
    with _handled({number: signal.SIG_IGN}):
        yield


@contextmanager
def ends_jobs_first(end_jobs: Callable[[], None] | None = None) -> Iterator[None]:
    """While jobs run in processes of their own: the first signal lets them finish their steps.

    A launcher that is interrupted kills its processes without waiting.

    Args:
        end_jobs: ends them; None: whoever is interrupted does, and they say so themselves.
    """

    def first(name: str) -> None:
        if end_jobs:
            _tell(f"{name}: the jobs stop after their steps; Ctrl-C: at once")
            end_jobs()
        raise KeyboardInterrupt

    with _heard(first, _interrupt):
        yield


@contextmanager
def _heard(first: Callable[[str], None], again: Callable[[], None]) -> Iterator[None]:
    """The first signal calls `first` with its name, and a later SIGINT `again`.

    Another one that comes later does nothing: who gets the Ctrl-C of a terminal may get a SIGTERM of its
    parent too, and who gets the SIGHUP of a terminal another one of its shell. Signals that are ignored
    stay so.
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
    """Signals have other handlers meanwhile. Only the main thread of a process gets signals."""
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
    """Not by print: the signal may have come in the middle of another one."""
    if not is_main():
        return
    with suppress(OSError):  # nobody reads it
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{message}\n".encode())
