"""Find out which resource of the machine has run out, in words that help the user."""

import errno

import torch
from safetensors import SafetensorError

DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of disk space is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EFBIG: "the file is larger than is allowed here",
    errno.EIO: "the disk has failed",
}
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad allocation")


def shortage(error: BaseException) -> str | None:
    """The resource whose shortage is the reason for a failure, or None."""
    return out_of_disk(error) or ("out of memory" if is_out_of_memory(error) else None)


def out_of_disk(error: BaseException) -> str | None:
    """What is wrong with the disk, if that is the reason for a failure, or None."""
    if isinstance(error, OSError):
        reason = DISK.get(error.errno or 0)
        return f"{error.filename}: {reason}" if reason and error.filename else reason
    if isinstance(error, SafetensorError):  # it gives the number of the error only in its text
        text = str(error)
        return next((why for code, why in DISK.items() if f"(os error {code})" in text), None)
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the GPU or of the machine was not enough."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
