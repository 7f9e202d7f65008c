"""Keeps a run going if its output cannot be written.

The reader may have left (`| head -1`), the terminal may be gone, the disk may be full, or the stream may
have been closed from the start (`>&-`).
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

failed: set[int] = set()  # descriptors of streams that have lost output


def outlive_readers() -> None:
    """From now on, output that cannot be written is lost, and no error is raised."""
    if os.name == "nt":  # consoles of Windows take text in another way
        return
    # If standard output is closed, the next file that is opened, such as a database, would take its place.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # else the output is captured
            options = ("encoding", "errors", "line_buffering", "write_through")
            like = {option: getattr(stream, option) for option in options if stream}
            raw = _Unfailing(number, "w", closefd=False)
            buffer: Any = raw if like.get("write_through") else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, **like))


class _Unfailing(io.FileIO):
    def write(self, data: "ReadableBuffer") -> int:
        """Write all data; data that cannot be written counts as written."""
        left = whole = memoryview(data).cast("B")
        try:
            while left:
                written = super().write(left)
                if written is None:  # the reader is only slow
                    select.select([], [self], [])
                left = left[written or 0 :]
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and self.fileno() not in failed:
                with suppress(OSError):
                    os.write(2, f"expkit: output is lost: {error.strerror}\n".encode())
            failed.add(self.fileno())
        return len(whole)
