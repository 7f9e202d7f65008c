"""`launch.processes=N`: one run in N processes, by torch's elastic launcher.

The configuration is composed and checked once; the processes get it resolved. (Composing it in each of
them is what goes wrong with Hydra and torchrun: Hydra #2070.)
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from threading import Thread
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from expkit.processes.attempt import Work, attempt, threads
from expkit.processes.context import JobContext
from expkit.processes.exits import FAILED, INTERRUPTED, complain
from expkit.processes.group import joined, require_gpus
from expkit.processes.interrupts import SIGNALS, end_on_signals, ends_jobs_first
from expkit.processes.outcome import Outcome
from expkit.terminal.errors import UserError

# Imported once in the process from which the others are forked: the second job of a sweep starts
# in a second or two.
PRELOADED = ["expkit.experiment"]
HERE = "127.0.0.1"
# Variables by which the launcher tells a process which one it is.
DESCRIPTION = ("RANK", "LOCAL_", "WORLD_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "TORCH_")
SHUTDOWN = 600  # seconds of a process for a step, an evaluation and a checkpoint after a signal


# Ends the run of that id as failed, unless it says so itself: (id, why, whether that is certain).
# Returns whether the run had ended by itself.
MarkFailed = Callable[[str, str, bool], bool]


def launch(cfg: DictConfig, work: Work, context: JobContext, mark_failed: MarkFailed) -> Outcome:
    """One run in `cfg.launch.processes` processes; returns what `attempt` does.

    Args:
        context: what the processes are told, but for their threads.
        mark_failed: called where the processes have died.

    Raises:
        KeyboardInterrupt: this process was interrupted; the run has ended as KILLED.
        ConfigError: there are more processes than GPUs.
    """
    processes = cfg.launch.processes
    require_gpus(processes)
    share = max(threads() // processes, 1)
    with tempfile.TemporaryDirectory() as folder:
        opened = Path(folder) / "run"
        told = context.variables(threads=share, announce_in=str(opened))
        environment = {**os.environ, **told, "OMP_NUM_THREADS": str(share)}
        order = Order(OmegaConf.to_container(cfg, resolve=True), work, environment)
        try:
            with _launching(), ends_jobs_first():
                outcome: Outcome = elastic_launch(on_this_machine(processes), _member)(order)[0]
                return outcome
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.exitcode == INTERRUPTED:
                raise KeyboardInterrupt from error
            _end(opened, failure, processes, mark_failed)
            return Outcome("failed")


def on_this_machine(processes: int) -> LaunchConfig:
    """How the elastic launcher starts them: forked from one process that has imported everything."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{HERE}:0",
        local_addr=HERE,
        max_restarts=0,
        start_method="forkserver",
        signals_to_handle="",  # a second one would cut off its wait for the processes
        shutdown_timeout=SHUTDOWN,
    )


@dataclass(frozen=True)
class Order:
    """What each of the processes gets."""

    config: Any  # resolved
    work: Work
    environment: dict[str, str]


def _member(order: Order) -> Any:
    """Carry out the order in one of the processes.

    The launcher waits for a process that returns; only one that exits ends the others.
    """
    described = {name: v for name, v in os.environ.items() if name.startswith(DESCRIPTION)}
    os.environ.clear()  # what the process from which this one was forked was started with
    os.environ.update({**order.environment, **described})
    end_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see _launching
    Thread(target=_end_with_launcher, daemon=True).start()
    try:
        with joined():
            outcome = attempt(OmegaConf.create(order.config), order.work)
            if outcome.state == "failed":
                raise SystemExit(FAILED)
            return outcome
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except UserError as error:
        raise SystemExit(complain(error)) from None


def _end_with_launcher() -> None:
    """Nobody waits for a process whose launcher was killed."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN)
    os._exit(INTERRUPTED)


def _end(opened: Path, failure: ProcessFailure, processes: int, mark_failed: MarkFailed) -> None:
    """Make sure that the run says that it has failed and why, also when nobody was left to say it."""
    died = failure.exitcode < 0
    how = f"has died of {failure.signal_name()}" if died else f"has ended with {failure.exitcode}"
    why = f"process {failure.local_rank} of {processes} (counted from 0) {how}"
    try:
        had_ended = not opened.exists() or mark_failed(opened.read_text(), why, died)
    except (UserError, OSError) as error:
        complain(UserError(f"that the run has failed could not be logged: {error}"))
        had_ended = False
    if died or not had_ended:
        complain(UserError(f"{why}; resume=auto goes on from the last checkpoint"))


@contextmanager
def _launching() -> Iterator[None]:
    """The launcher takes over signals, and reports what the processes have said themselves.

    Processes of joblib hand on their own start method, which no other process knows.
    """
    before = logging.root.manager.disable
    method = multiprocessing.get_start_method(allow_none=True)
    logging.disable(logging.CRITICAL)
    multiprocessing.set_start_method("forkserver", force=True)
    # Schedulers and terminals send signals to all processes of a job, also to these two.
    for start in (resource_tracker.ensure_running, forkserver.ensure_running):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield
    finally:
        logging.disable(before)
        multiprocessing.set_start_method(method, force=True)
