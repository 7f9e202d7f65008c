"""One training in several processes: how they join, and what they tell each other.

With one process alone, none of these functions waits or sends anything.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from expkit.processes.exits import FAILED as EXIT_FAILED
from expkit.processes.interrupts import ignore_termination
from expkit.processes.ranks import count, described, is_main, local_count, local_rank, rank, to_do
from expkit.terminal.display import console
from expkit.terminal.errors import ConfigError, UserError, reason
from expkit.terminal.secrets import redacted

T = TypeVar("T")

MEET_WITHIN = timedelta(seconds=45)  # the time in which all processes have to find each other
WAIT_AT_MOST = timedelta(hours=2)  # longest wait for a main process that uploads or reads data
MAIN_ENDS_WITHIN = 45.0  # seconds that the main process has to end its run after another has failed
NOTES = "failures"  # a folder in the run's folder, with a note from each process that has failed
_has_left_note = False
_cpu_group: Any = None  # sends objects, even if training sends tensors between GPUs


def device() -> torch.device:
    """The GPU of this process (CUDA, or MPS of a Mac), or the CPU; nothing else chooses between them."""
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank())
    # Several processes sum their gradients with gloo, which sends no tensors of MPS.
    return torch.device("mps" if torch.backends.mps.is_available() and count() == 1 else "cpu")


def require_gpus(processes: int) -> None:
    """Raise a ConfigError if this machine has GPUs, but not one for each of its processes."""
    if device().type == "cuda" and processes > (gpus := torch.cuda.device_count()):
        raise ConfigError(
            f"launch.processes={processes}: each process needs its own GPU, but this machine has "
            f"only {gpus}"
        )


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes that a launcher has started, and leave them at the end.

    Raises:
        UserError: the others did not join in time.
        ConfigError: there are more processes than GPUs.
    """
    if count() == 1:
        yield
        return
    _join()
    try:
        yield
    except BaseException:
        # Leaving may deadlock: it can wait for GPUs that wait for this process.
        timer = Timer(2 * MAIN_ENDS_WITHIN, os._exit, (EXIT_FAILED,))
        timer.daemon = True
        timer.start()
        leave(is_failing=True)
        if _has_left_note:
            time.sleep(MAIN_ENDS_WITHIN)  # the launcher ends this one as soon as the main one ends
        raise
    finally:
        leave()
        console.quiet = False


def _join() -> None:
    global _cpu_group
    require_gpus(local_count())
    # Otherwise, Accelerate would divide all cores among the processes, even those that others use.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    backend = "gloo"
    if device().type == "cuda":
        torch.cuda.set_device(device())
        backend = "cpu:gloo,cuda:nccl"
    try:
        store, *_ = next(dist.rendezvous("env://", timeout=MEET_WITHIN))
    except (dist.DistError, OSError) as error:
        seconds = MEET_WITHIN.total_seconds()
        why = f"{described()}: the other processes did not join within {seconds:.0f} s; {to_do()}"
        if not is_main():  # the main process may not be there to print it
            print(f"expkit: {why}", file=sys.stderr)
        raise UserError(why) from error
    console.quiet = not is_main()
    store.set_timeout(WAIT_AT_MOST)
    store = dist.PrefixStore("expkit", store)
    dist.init_process_group(
        backend, store=store, rank=rank(), world_size=count(), timeout=WAIT_AT_MOST
    )
    _cpu_group = dist.new_group(backend="gloo", timeout=WAIT_AT_MOST)


def leave(is_failing: bool = False) -> None:
    """Close all connections, so that processes which wait for this one get an error at once."""
    global _cpu_group
    _cpu_group = None
    if dist.is_initialized():
        if is_failing and device().type == "cuda":
            dist.distributed_c10d._abort_process_group()  # destroying it waits for the others
        else:
            dist.destroy_process_group()


def summed(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, in each of them."""
    if count() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any of the processes."""
    if count() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX, group=_cpu_group)
    return bool(flags)


def gathered(part: Sequence[T]) -> list[T]:
    """The parts of all processes in one list, in each of them."""
    if count() == 1:
        return list(part)
    parts: list[Any] = [None] * count()
    dist.all_gather_object(parts, list(part), group=_cpu_group)
    return [item for part in parts for item in part]


def from_main(make: Callable[[], T]) -> T:
    """Make something in the main process, and return it in each process."""
    if count() == 1:
        return make()
    box = [make() if is_main() else None]
    dist.broadcast_object_list(box, src=0, group=_cpu_group)
    return box[0]  # type: ignore[return-value]


def barrier() -> None:
    """Wait until all processes have called this."""
    any_of(False)


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process run the block first, so that the others find the files that it writes."""
    if not is_main():
        barrier()
    yield
    if is_main():
        barrier()


@contextmanager
def failures_told(folder: Path) -> Iterator[None]:
    """Let the main process, which keeps the run, say why another one has failed.

    Args:
        folder: the folder of the run, where a process that fails leaves a note.

    Raises:
        UserError: another process has failed or died; raised in the main process.
    """
    if count() == 1:
        yield
        return
    global _has_left_note
    notes = folder / NOTES
    if is_main():
        for left in notes.glob("*"):
            left.unlink()
    barrier()
    try:
        yield
    except Exception as error:
        is_of_connection = _is_of_connection(error)
        if not is_main() and not is_of_connection:
            notes.mkdir(exist_ok=True)
            text = "".join(traceback.format_exception(error))
            unfinished = notes / f"{rank()}.unfinished"
            unfinished.write_text(redacted(f"{reason(error)}\n{text}"), encoding="utf-8")
            unfinished.rename(notes / f"{rank()}.txt")
            _has_left_note = True
            leave(is_failing=True)
        elif is_main() and is_of_connection:
            raise _failure_of_another(folder, error) from error
        raise


def failure_told(folder: Path) -> UserError | None:
    """Why a process other than the main one has failed, if it has left a note in the run's folder."""
    for note in sorted((folder / NOTES).glob("*.txt")):
        why, _, trace = note.read_text(encoding="utf-8").partition("\n")
        failed = UserError(f"process {note.stem} (counted from 0) has failed: {why}")
        failed.add_note(trace)
        return failed
    return None


def _failure_of_another(folder: Path, error: Exception) -> UserError:
    ignore_termination()
    deadline = time.monotonic() + 3.0
    while not (failed := failure_told(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return failed or UserError(f"another of the {count()} processes has died ({reason(error)})")


def _is_of_connection(error: Exception) -> bool:
    """Whether a connection has broken. Gloo raises a RuntimeError for that, without a type of its own."""
    words = ("gloo", "connection closed", "connection reset", "broken pipe")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )
