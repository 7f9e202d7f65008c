"""`launch.processes=N`: one run in N processes, started by torch's elastic launcher.

The configuration is composed and checked once, and the processes get it resolved. Under torchrun, every
process would compose it, which goes wrong with Hydra (Hydra #2070).
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
from expkit.terminal.errors import UserError, reason

# The process from which the others are forked imports this once, so the second job of a sweep starts
# within two seconds.
PRELOADED = ["expkit.experiment"]
HERE = "127.0.0.1"
# The launcher tells a process which one it is, in variables whose names begin like these.
DESCRIPTION = ("RANK", "LOCAL_", "WORLD_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "TORCH_")
# Seconds that a process has for a step, an evaluation and a checkpoint after a signal.
STOPS_WITHIN = 600

# Called as mark_failed(run_id, why, is_certain). Marks a run as failed unless it has already ended;
# returns True if it had.
MarkFailed = Callable[[str, str, bool], bool]


def launch(cfg: DictConfig, work: Work, context: JobContext, mark_failed: MarkFailed) -> Outcome:
    """Carry out one run in `cfg.launch.processes` processes, and return its outcome.

    Args:
        context: the context of the processes, without their number of threads.
        mark_failed: called if the processes have died.

    Raises:
        KeyboardInterrupt: this process was interrupted, and the run has ended as KILLED.
        ConfigError: there are more processes than GPUs.
    """
    processes = cfg.launch.processes
    require_gpus(processes)
    share = max(threads() // processes, 1)
    with tempfile.TemporaryDirectory() as folder:
        opened = Path(folder) / "run"
        told = context.variables(threads=share, announce_in=str(opened))
        environment = {**os.environ, **told, "OMP_NUM_THREADS": str(share)}
        assignment = Assignment(OmegaConf.to_container(cfg, resolve=True), work, environment)
        try:
            with _launching(), ends_jobs_first():
                outcome: Outcome = elastic_launch(on_this_machine(processes), _member)(assignment)[
                    0
                ]
                return outcome
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.exitcode == INTERRUPTED:
                raise KeyboardInterrupt from error
            _end(opened, failure, processes, mark_failed)
            return Outcome("failed")


def on_this_machine(processes: int) -> LaunchConfig:
    """Settings that fork the processes from one that has imported everything."""
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
        signals_to_handle="",  # a second signal would cut off its wait for the processes
        shutdown_timeout=STOPS_WITHIN,
    )


@dataclass(frozen=True)
class Assignment:
    """The work for each of the processes."""

    config: Any  # resolved
    work: Work
    environment: dict[str, str]


def _member(assignment: Assignment) -> Any:
    """Carry out the assignment, in one of the processes.

    If a process returns, the launcher keeps waiting for the others; it ends them only if one exits with
    an error.
    """
    described = {name: v for name, v in os.environ.items() if name.startswith(DESCRIPTION)}
    os.environ.clear()  # it was inherited from the process from which this one was forked
    os.environ.update({**assignment.environment, **described})
    end_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see _launching
    Thread(target=_end_with_launcher, daemon=True).start()
    try:
        with joined():
            outcome = attempt(OmegaConf.create(assignment.config), assignment.work)
            if outcome.state == "failed":
                raise SystemExit(FAILED)
            return outcome
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except UserError as error:
        raise SystemExit(complain(error)) from None


def _end_with_launcher() -> None:
    """End this process if its launcher was killed, because nobody waits for it any more."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOPS_WITHIN)
    os._exit(INTERRUPTED)


def _end(opened: Path, failure: ProcessFailure, processes: int, mark_failed: MarkFailed) -> None:
    """Make sure that the run is marked as failed, with the reason, if its processes could not do it."""
    died = failure.exitcode < 0
    how = f"has died of {failure.signal_name()}" if died else f"has ended with {failure.exitcode}"
    why = f"process {failure.local_rank} of {processes} (counted from 0) {how}"
    try:
        had_ended = not opened.exists() or mark_failed(opened.read_text(), why, died)
    except (UserError, OSError) as error:
        complain(UserError(f"the failure of the run could not be logged: {reason(error)}"))
        had_ended = False
    if died or not had_ended:
        complain(UserError(f"{why}; resume=auto goes on from the last checkpoint"))


@contextmanager
def _launching() -> Iterator[None]:
    """Silence the launcher, which repeats the errors of the processes, and choose the start method.

    joblib workers use joblib's own start method, which ordinary processes cannot use.
    """
    before = logging.root.manager.disable
    method = multiprocessing.get_start_method(allow_none=True)
    logging.disable(logging.CRITICAL)
    multiprocessing.set_start_method("forkserver", force=True)
    # These two processes must not get the signals that schedulers and terminals send to the whole job.
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
