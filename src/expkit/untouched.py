"""Leaves a process as it was, so that what a notebook does after a run is not changed by the run."""

import gc
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread

import datasets
import huggingface_hub.constants
import numpy as np
import torch
import transformers
from accelerate.state import AcceleratorState, GradientState, PartialState
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.singleton import Singleton
from mlflow.tracking._tracking_service import utils as mlflow_store

from expkit.config.composition import watch_composition, work_has_begun

Restore = Callable[[], object]


@contextmanager
def untouched() -> Iterator[None]:
    """Put everything back that a run changes in its process, also when the block raises."""
    with ExitStack() as kept:
        kept.enter_context(warnings.catch_warnings())
        kept.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
        for keep in (_process, _signals, _loggers, _libraries, _torch, _hydra, _garbage):
            kept.callback(keep())
        yield


def _process() -> Restore:
    folder, path, streams = os.getcwd(), [*sys.path], (sys.stdout, sys.stderr, sys.excepthook)  # noqa: PTH109
    environment, of_python, of_numpy = dict(os.environ), random.getstate(), np.random.get_state()

    def restore() -> None:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update({k: v for k, v in environment.items() if os.environ.get(k) != v})
        os.chdir(folder)
        sys.path[:] = path
        sys.stdout, sys.stderr, sys.excepthook = streams
        random.setstate(of_python)
        np.random.set_state(of_numpy)

    return restore


def _signals() -> Restore:
    """Only the main thread can set handlers, so a run in another one changes none."""
    if current_thread() is not main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def restore() -> None:
        for number, handler in before.items():
            # None was not set by Python, so nothing in Python can have replaced it unseen.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return restore


def _loggers() -> Restore:
    names = [None, *logging.root.manager.loggerDict]
    before = {name: dict(vars(logging.getLogger(name))) for name in names}
    handlers = {name: [*logging.getLogger(name).handlers] for name in names}
    disabled = logging.root.manager.disable

    def restore() -> None:
        for name in (None, *logging.root.manager.loggerDict):
            logger = logging.getLogger(name)
            was = before.get(name, {})
            logger.setLevel(was.get("level", logging.NOTSET))
            if was:
                logger.handlers, logger.disabled = handlers[name], was["disabled"]
                logger.propagate = was["propagate"]
        logging.disable(disabled)

    return restore


def _libraries() -> Restore:
    talk = transformers.logging
    verbosity, has_bar = talk.get_verbosity(), talk.is_progress_bar_enabled()
    is_silent, store = datasets.are_progress_bars_disabled(), mlflow_store._tracking_uri
    offline = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    shared = {
        state: dict(state._shared_state)
        for state in (PartialState, AcceleratorState, GradientState)
    }
    for state in shared:
        state._shared_state.clear()  # a run must not take over what the notebook has chosen

    def restore() -> None:
        talk.set_verbosity(verbosity)
        (talk.enable_progress_bar if has_bar else talk.disable_progress_bar)()
        (datasets.disable_progress_bars if is_silent else datasets.enable_progress_bars)()
        mlflow_store._tracking_uri = store
        huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = offline
        for state, values in shared.items():
            state._shared_state.clear()
            state._shared_state.update(values)

    return restore


def _torch() -> Restore:
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    mode, kind, gradients = (
        torch.get_deterministic_debug_mode(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)

    def restore() -> None:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)
        torch.set_deterministic_debug_mode(mode)
        torch.set_default_dtype(kind)
        torch.set_grad_enabled(gradients)

    return restore


def _hydra() -> Restore:
    singletons, load = Singleton.get_state(), ConfigLoaderImpl.load_configuration
    work_has_begun.clear()

    def restore() -> None:
        Singleton.set_state(singletons)
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]
        watch_composition.cache_clear()

    return restore


def _garbage() -> Restore:
    was_enabled, frozen = gc.isenabled(), gc.get_freeze_count()

    def restore() -> None:
        if not frozen:
            gc.unfreeze()
        (gc.enable if was_enabled else gc.disable)()
        gc.collect()

    return restore
