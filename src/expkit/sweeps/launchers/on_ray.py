"""Run the jobs of a sweep as Ray tasks. If one fails, the others still run."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Ray reads these when it is imported. By default, it reports its use over the network, announces
# changes of its own, and leaves out lines that several jobs print.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_COLOR_PREFIX", "0")

import ray
from hydra.core.utils import JobReturn

from expkit.processes.cores import cores
from expkit.sweeps.launchers.elsewhere import Work, execute, without_result
from expkit.terminal.errors import ConfigError, UserError, reason
from hydra_plugins.expkit_launchers import RayLauncher

OBJECT_STORE = 100 * 2**20  # bytes; jobs exchange nothing but their configuration


def launch(launcher: RayLauncher, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs, as many at once as there is room for, and wait for all of them.

    A job whose process dies is not tried again here; its result says that it has failed.

    Raises:
        UserError: no Ray answers at the address, or this machine has too few CPUs or GPUs.
    """
    with connected(launcher):
        cpus, gpus = launcher.num_cpus, launcher.num_gpus
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(execute)
        sent = ray.put(Work.of(launcher))
        references = [task.remote(sent, job, number) for number, job in enumerate(jobs, first)]
        return [_result(launcher, *pair) for pair in zip(references, jobs, strict=True)]


def _result(launcher: RayLauncher, reference: Any, overrides: Sequence[str]) -> JobReturn:
    try:
        result = ray.get(reference)
        assert isinstance(result, JobReturn)
        return result
    except Exception as error:  # whatever became of the task, the others go on
        launcher.on_loss()
        return without_result(overrides, f"{type(error).__name__}: {error}")


@contextmanager
def connected(launcher: RayLauncher) -> Iterator[None]:
    """Connect to Ray, or start it and shut it down at the end."""
    if ray.is_initialized():
        yield
        return
    try:
        if launcher.address is None:
            _require_room(launcher)
            ray.init(
                address="local",
                num_cpus=cores(),
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=launcher.address, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"hydra.launcher.address={launcher.address}: no Ray answers: {reason(error)}; one "
            "that asks for a token needs RAY_AUTH_MODE=token; null starts one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_room(launcher: RayLauncher) -> None:
    """Raise a ConfigError for a task that needs more than there is: it would wait forever."""
    import torch

    there_are = {"num_cpus": cores(), "num_gpus": torch.cuda.device_count()}
    for name, most in there_are.items():
        if (needed := getattr(launcher, name)) > most:
            raise ConfigError(f"hydra.launcher.{name}={needed}: this machine has {most}")
