"""What Hydra calls for each configuration: a single run, or a job of a sweep.

Launchers send these functions to other processes, so they must not live in `__main__`.
"""

import gc
import multiprocessing
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from expkit.config.checks import check
from expkit.config.project import PROJECT_VARIABLE, output_dir, require_outputs, take_over
from expkit.config.texts import as_typed
from expkit.processes.interrupts import end_on_signals, raise_late
from expkit.processes.ranks import count
from expkit.terminal.display import say
from expkit.terminal.errors import FAILED as EXIT_FAILED
from expkit.terminal.errors import INTERRUPTED, ConfigError, Pruned, UserError, complain
from expkit.terminal.secrets import print_error
from expkit.terminal.streams import outlive_readers

SEARCH_VARIABLE = "EXPKIT_SEARCH"  # in the environment of a job that is a worker of a search
THREADS = "EXPKIT_THREADS"  # in the environment of a job: how many threads it may use
FAILED, SKIPPED, PRUNED = "failed", "skipped", "pruned"  # what a job returns, not its objective

PATHS = ("data.train_file", "data.validation_file", "data.test_file", "model.path")

IsPromising = Callable[[float, float], bool]  # see expkit.training.monitor
Attempt = Callable[[DictConfig], Any]  # `attempt` of one configuration, to be sent to a process

# Our options carry the names of the plugins' own, which Hydra mentions at each composition.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore")

# Set when Hydra has composed and the work begins: from then on an exception is no bad input.
work_has_begun = Event()


def task(cfg: DictConfig) -> Any:
    """The task function of Hydra."""
    work_has_begun.set()
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        take_over(os.environ.get(PROJECT_VARIABLE))
        return work_for_search(cfg) if SEARCH_VARIABLE in os.environ else job_of_sweep(cfg)
    try:
        return single(cfg)
    except UserError as error:
        # SystemExit passes through Hydra, which would print its own line about an exception.
        raise SystemExit(complain(error)) from error
    except Exception as error:
        # Hydra would print the overrides, and an address with its password among them.
        print_error()
        raise SystemExit(EXIT_FAILED) from error


def single(cfg: DictConfig) -> float | None:
    """One run, or a dry run."""
    hydra_config = HydraConfig.get()
    check_where_typed(cfg)
    for override in as_typed(hydra_config.overrides.hydra):
        if override.startswith("hydra.run.dir=") and not hydra_config.job.chdir:
            say(
                f"{override}: nothing is written there; the files of a run are in {output_dir()}/runs"
            )
    processes = count()
    if cfg.dry_run:
        if processes > 1:
            raise ConfigError(f"dry_run=true: runs in one process, and {processes} are started")
        from expkit.commands.dry_run import dry_run

        dry_run(cfg)
        return None
    choices = dict(hydra_config.runtime.choices)
    typed = as_typed(hydra_config.overrides.task)
    if processes > 1:
        if (asked := cfg.launch.processes) not in (1, processes):
            raise ConfigError(f"launch.processes={asked}: {processes} are started already")
        cfg.launch.processes = processes
    elif cfg.launch.processes > 1:
        from expkit.processes.launch import launch

        result = launch(cfg, partial(attempt, choices=choices, typed=typed))
        if result == FAILED:
            raise SystemExit(EXIT_FAILED)  # why was printed by the process that it happened in
        return float(result)
    # What is made until training begins stays: looking for garbage in it takes a sixth of that time.
    gc.disable()
    from expkit.experiment import run
    from expkit.processes.group import joined

    with joined():
        return run(cfg, choices, typed=typed)


def check_where_typed(cfg: DictConfig) -> None:
    """Raise a ConfigError if `cfg` cannot be run. With `hydra.job.chdir` its paths become absolute."""
    hydra_config = HydraConfig.get()
    typed_in = where_typed()
    with chdir(typed_in):
        check(cfg, as_typed(hydra_config.overrides.task))
    require_outputs()
    for key in PATHS if typed_in != Path.cwd() else ():
        path = OmegaConf.select(cfg, key)
        if path and (typed_in / path).exists():  # model.path may also be a name on the hub
            OmegaConf.update(cfg, key, str(typed_in / path))


def where_typed() -> Path:
    """The folder that the command was typed in; on another machine it need not be there."""
    folder = Path(HydraConfig.get().runtime.cwd)
    return folder if folder.is_dir() else Path.cwd()


def job_of_sweep(cfg: DictConfig) -> Any:
    """One run; a failure is returned, so that it ends neither the launcher nor the other jobs.

    Why it failed stands in the run that it leaves in MLflow.
    """
    from expkit.tracking.past import OVERRIDES_VARIABLE
    from expkit.tracking.sweep import is_stopped, stop_sweep

    hydra_config = HydraConfig.get()
    check_where_typed(cfg)
    typed = own_overrides(as_typed(hydra_config.overrides.task))
    os.environ[OVERRIDES_VARIABLE] = " ".join(typed)
    stops = cfg.sweep.on_failure == "stop"
    if stops and is_stopped(cfg.tracking):
        return SKIPPED
    result = carry_out(cfg, dict(hydra_config.runtime.choices), typed)
    if stops and result == FAILED:
        stop_sweep(cfg.tracking)
    return result


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """What was asked for: not the name that the sweep gave the job, nor an address with a password."""
    hidden = ("run_name=", "tracking.uri=")
    return [o for o in overrides if not o.lstrip("+~").startswith(hidden)]


def work_for_search(cfg: DictConfig) -> Any:
    """Trials of a search, one after another, until there are enough."""
    from expkit.sweeps.search.worker import work

    os.chdir(where_typed())  # Hydra's folder would be that of many trials
    return work(cfg, os.environ[SEARCH_VARIABLE])


def carry_out(
    cfg: DictConfig,
    choices: Mapping[str, str],
    typed: Sequence[str],
    is_promising: IsPromising | None = None,
) -> Any:
    """One run, in this process or in others; returns what `attempt` does.

    Args:
        is_promising: says after each evaluation whether to go on; can be sent to a process.
    """
    work = partial(attempt, choices=choices, typed=typed, is_promising=is_promising)
    if cfg.launch.processes > 1:
        from expkit.processes.launch import launch

        return launch(cfg, work)
    return _in_own_process(cfg, work) if cfg.sweep.process_per_job else work(cfg)


def attempt(
    cfg: DictConfig,
    choices: Mapping[str, str],
    typed: Sequence[str] = (),
    is_promising: IsPromising | None = None,
) -> Any:
    """The objective, FAILED or PRUNED; the process is left as the next job wants to find it."""
    take_over(os.environ.get(PROJECT_VARIABLE))
    gc.disable()  # until training begins, as in `single`
    import torch
    from accelerate.state import AcceleratorState

    from expkit.experiment import run

    outlive_readers()
    end_on_signals()
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads()))  # of tokenizers
    try:
        return run(cfg, choices, is_promising, typed)
    except Pruned as reason:
        say(f"pruned: {reason}")
        return PRUNED
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
    return FAILED


def threads() -> int:
    """How many this job may use."""
    import torch

    return int(os.environ.get(THREADS) or torch.get_num_threads())


def _in_own_process(cfg: DictConfig, work: Attempt) -> Any:
    """A job that dies of a signal takes nothing with it, and leaves no memory in use."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    plain = OmegaConf.to_container(cfg, resolve=True)
    process = context.Process(target=_child, args=(sender, plain, work))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return FAILED
    except KeyboardInterrupt:
        process.terminate()  # which ends its run as KILLED
        raise
    finally:
        process.join()


def _child(sender: Connection, plain: Any, work: Attempt) -> None:
    try:
        sender.send(work(OmegaConf.create(plain)))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
