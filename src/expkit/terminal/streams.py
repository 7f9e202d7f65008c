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

failed: set[int] = set()  # descriptors that have not taken all


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
            raw = _Unfailing(number, "w", closefd=False)
            buffer: Any = raw if like.get("write_through") else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, **like))


class _Unfailing(io.FileIO):
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
            if not isinstance(error, BrokenPipeError) and self.fileno() not in failed:
                with suppress(OSError):
                    os.write(2, f"expkit: output is lost: {error.strerror}\n".encode())
            failed.add(self.fileno())
        return len(whole)
