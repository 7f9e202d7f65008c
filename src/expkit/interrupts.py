"""Ctrl-C and SIGTERM while a model trains: the first waits for the end of the step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

from expkit.display import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_after_step() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop; a second signal raises KeyboardInterrupt at once.

    Only the main thread of a process gets signals; in another one nothing changes.
    """
    asked = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say(f"{signal.Signals(signum).name}: stopping after this step; once more: at once")

    if current_thread() is not main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
