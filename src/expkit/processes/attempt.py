"""One attempt at a run: in this process, in one of its own, or in several."""

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
    """Carry out `work` and return its outcome, also where it fails.

    The message or the traceback of a failure is printed. The process is left as the next job wants to
    find it.

    Raises:
        KeyboardInterrupt: a signal has come.
    """
    gc.disable()  # until training begins: what is made before stays, and is no garbage
    import torch
    from accelerate.state import AcceleratorState

    outlive_readers()
    end_on_signals()
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads()))  # of tokenizers
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
            gc.freeze()  # the libraries: looking at them once more takes half a second a job
        raise_late()
    return Outcome("failed")


def threads() -> int:
    """How many threads this job may use."""
    import torch

    return job_context().threads or torch.get_num_threads()


def in_own_process(cfg: DictConfig, work: Work) -> Outcome:
    """`attempt` in a new process: one that dies of a signal takes nothing with it, nor keeps memory."""
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
        process.terminate()  # which ends its run as KILLED
        raise
    finally:
        process.join()
    return outcome


def _child(sender: Connection, plain: Any, work: Work) -> None:
    try:
        sender.send(attempt(OmegaConf.create(plain), work))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
