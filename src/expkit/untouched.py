"""Leaves a process as it was, so that what a notebook does after a run is not changed by the run."""

import gc
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from mlflow.tracking._tracking_service import utils as mlflow_store
from mlflow.utils.autologging_utils import disable_autologging
from transformers import logging as talk

from expkit.config.composition import watch_composition, work_has_begun
from expkit.config.fingerprint import forget
from expkit.config.targets import package_of

# What one function returns, and another sets.
SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (os.getcwd, os.chdir),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (talk.get_verbosity, talk.set_verbosity),
    (
        talk.is_progress_bar_enabled,
        lambda on: (talk.disable_progress_bar, talk.enable_progress_bar)[on](),
    ),
    (
        datasets.are_progress_bars_disabled,
        lambda off: (datasets.enable_progress_bars, datasets.disable_progress_bars)[off](),
    ),
    (gc.isenabled, lambda on: (gc.disable, gc.enable)[on]()),
)
ATTRIBUTES: tuple[tuple[Any, str], ...] = (
    *((sys, name) for name in ("stdout", "stderr", "excepthook")),
    (logging.root.manager, "disable"),
    (huggingface_hub.constants, "HF_HUB_OFFLINE"),
    (datasets.config, "HF_HUB_OFFLINE"),
    (mlflow_store, "_tracking_uri"),
    (ConfigLoaderImpl, "load_configuration"),
    (Singleton, "_instances"),  # what Hydra keeps
)
OF_HYDRA = (GlobalHydra, HydraConfig, JobRuntime)
OF_ACCELERATE = (PartialState, AcceleratorState, GradientState)


_lock = threading.RLock()


@contextmanager
def untouched() -> Iterator[None]:
    """Put everything back that a run changes in its process, also when the block raises.

    Of several threads, one is in such a block at a time, as most of it belongs to the whole process.
    """
    with _lock, ExitStack() as kept:
        kept.enter_context(warnings.catch_warnings())
        kept.enter_context(disable_autologging())  # of MLflow, which would open further runs
        kept.enter_context(torch.inference_mode(False))
        if torch.get_default_device().type != "cpu":
            kept.enter_context(torch.device("cpu"))
        kept.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
        for read, write in SETTINGS:
            kept.callback(write, read())
        for owner, name in ATTRIBUTES:
            kept.callback(setattr, owner, name, getattr(owner, name))
        for values in (os.environ, *(state._shared_state for state in OF_ACCELERATE)):
            kept.callback(_fill, values, dict(values))
        kept.callback(_fill_path, [*sys.path])
        kept.callback(_thaw, gc.get_freeze_count())
        kept.callback(_forget_modules, [*sys.modules])
        kept.callback(_signals())
        kept.callback(_loggers())
        kept.callback(watch_composition.cache_clear)
        work_has_begun.clear()
        for state in OF_ACCELERATE:
            state._shared_state.clear()  # a run must not take over what the notebook has chosen
        Singleton._instances = {k: v for k, v in Singleton._instances.items() if k not in OF_HYDRA}
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        yield


def _fill(values: Any, before: dict[str, Any]) -> None:
    for name in values.keys() - before.keys():
        del values[name]
    values.update({k: v for k, v in before.items() if k not in values or values[k] is not v})


def _fill_path(before: list[str]) -> None:
    sys.path[:] = before


def _signals() -> Callable[[], None]:
    """Only the main thread can set handlers, so a run in another one changes none."""
    numbers = (
        signal.valid_signals() if threading.current_thread() is threading.main_thread() else ()
    )
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            # None was not set by Python, so nothing in Python can have replaced it unseen.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return restore


def _loggers() -> Callable[[], None]:
    def now() -> dict[str, logging.Logger]:
        return {
            name: logging.getLogger(name) for name in ("root", *logging.root.manager.loggerDict)
        }

    before = {
        name: {**vars(one), "handlers": [*one.handlers], "_cache": {}}
        for name, one in now().items()
    }

    def restore() -> None:
        for name, one in now().items():
            one.setLevel(logging.NOTSET)  # of new loggers; it also empties what all have cached
            vars(one).update(before.get(name, {}))

    return restore


def _forget_modules(before: list[str]) -> None:
    """Let the next run import the user's modules again, as they may be edited in between."""
    for name in sys.modules.keys() - set(before):
        file, package = getattr(sys.modules[name], "__file__", None), package_of(name)
        is_ours = package in ("expkit", "hydra_plugins", *sys.stdlib_module_names)
        if file and not is_ours and not {"site-packages", "dist-packages"} & {*Path(file).parts}:
            del sys.modules[name]
            forget(Path(file))


def _thaw(frozen: int) -> None:
    if not frozen:
        gc.unfreeze()
    gc.collect()
