"""Output that nobody takes must not end a run.

A reader may have left (`| head -1`), a terminal may be gone, the disk behind a file may be full, and a
stream may have been closed from the start (`>&-`).
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def outlive_readers() -> None:
    """What standard output and error do not take is lost from here on, and nothing else."""
    if os.name == "nt":  # whose consoles take text in another way
        return
    # Else the next file that is opened, such as a database, would be the standard output.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # else somebody catches what is said
            options = ("encoding", "errors", "line_buffering", "write_through")
            like = {option: getattr(stream, option) for option in options if stream}
            raw = _Unfailing(number)
            buffer: Any = raw if like.get("write_through") else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, **like))


def is_read() -> bool:
    """Whether standard output has taken everything so far."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return not (isinstance(raw, _Unfailing) and raw.has_failed)


class _Unfailing(io.FileIO):
    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.has_failed = False

    def write(self, data: "ReadableBuffer") -> int:
        """All of it; what cannot be written counts as written."""
        left = whole = memoryview(data).cast("B")
        try:
            while left:
                written = super().write(left)
                if written is None:  # whoever reads is only slow
                    select.select([], [self], [])
                left = left[written or 0 :]
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and not self.has_failed:
                with suppress(OSError):
                    os.write(2, f"expkit: output is lost: {error.strerror}\n".encode())
            self.has_failed = True
        return len(whole)
