"""One attempt at a run, in this process or in a new one."""

import gc
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from expkit.processes.context import job_context
from expkit.processes.exits import INTERRUPTED, complain, print_error
from expkit.processes.interrupts import end_on_signals, raise_late
from expkit.processes.outcome import Outcome
from expkit.terminal.display import say
from expkit.terminal.errors import Pruned, UserError
from expkit.terminal.streams import outlive_readers

Work = Callable[[DictConfig], Outcome]  # carries out one configuration; it can be sent to a process


def attempt(cfg: DictConfig, work: Work) -> Outcome:
    """Carry out `work` and return its outcome, even if it fails.

    The message or the traceback of a failure is printed. Afterwards the process is ready for the next
    job.

    Raises:
        KeyboardInterrupt: a signal has come.
    """
    gc.disable()  # until training begins, because hardly any object made before then is garbage
    import torch
    from accelerate.state import AcceleratorState

    outlive_readers()
    end_on_signals()
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads()))  # tokenizers reads it
    try:
        return work(cfg)
    except Pruned as reason:
        say(f"pruned: {reason}")
        return Outcome("pruned")
    except UserError as error:
        complain(error)
    except Exception:
        print_error()
    finally:
        torch.set_num_threads(before)
        AcceleratorState._reset_state(reset_partial_state=True)
        gc.enable()
        gc.collect()
        if not gc.get_freeze_count():
            gc.freeze()  # otherwise each garbage collection scans the libraries, half a second per job
        raise_late()
    return Outcome("failed")


def threads() -> int:
    """How many threads this job may use."""
    import torch

    return job_context().threads or torch.get_num_threads()


def in_own_process(cfg: DictConfig, work: Work) -> Outcome:
    """Do `attempt` in a new process, which gives back all memory and can die without ending this one."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    plain = OmegaConf.to_container(cfg, resolve=True)
    process = context.Process(target=_child, args=(sender, plain, work))
    process.start()
    sender.close()
    try:
        outcome: Outcome = receiver.recv()
    except EOFError:
        return Outcome("failed")
    except KeyboardInterrupt:
        process.terminate()  # its run then ends as KILLED
        raise
    finally:
        process.join()
    return outcome


def _child(sender: Connection, plain: Any, work: Work) -> None:
    try:
        sender.send(attempt(OmegaConf.create(plain), work))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
