"""Jobs of a sweep as Ray tasks: each in a process of its own choosing, each failing alone."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Before Ray is imported: it would otherwise report its use over the network, announce changes of its
# own, and leave out lines that several jobs print.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_COLOR_PREFIX", "0")

import ray
from hydra.core.utils import JobReturn

from expkit.errors import ConfigError, UserError
from expkit.sweeps.elsewhere import Work, execute, without_result
from expkit.sweeps.grid import cores

OBJECT_STORE = 100 * 2**20  # bytes; jobs exchange nothing but their configuration


@dataclass(frozen=True)
class Resources:
    """Where tasks run, and what each of them needs."""

    address: str | None
    num_cpus: float
    num_gpus: float


def launch(
    resources: Resources,
    work: Work,
    jobs: Sequence[Sequence[str]],
    first: int,
    on_loss: Callable[[], None],
) -> list[JobReturn]:
    """Run the jobs, as many at once as there is room for; returns when all have ended.

    A task whose process dies is not tried again here; what it returns says that it has failed.

    Raises:
        UserError: there is no Ray at that address, or not enough of a resource on this machine.
    """
    with connected(resources):
        task = ray.remote(num_cpus=resources.num_cpus, num_gpus=resources.num_gpus, max_retries=0)(
            execute
        )
        sent = ray.put(work)
        references = [task.remote(sent, job, number) for number, job in enumerate(jobs, first)]
        return [_result(*pair, on_loss) for pair in zip(references, jobs, strict=True)]


def _result(reference: Any, overrides: Sequence[str], on_loss: Callable[[], None]) -> JobReturn:
    try:
        result = ray.get(reference)
        assert isinstance(result, JobReturn)
        return result
    except Exception as error:  # whatever became of the task, the others go on
        on_loss()
        return without_result(overrides, f"{type(error).__name__}: {error}")


@contextmanager
def connected(resources: Resources) -> Iterator[None]:
    """A Ray to run tasks on; it is shut down at the end if it was started here."""
    if ray.is_initialized():
        yield
        return
    try:
        if resources.address is None:
            _require_room(resources)
            ray.init(
                address="local",
                num_cpus=cores(),
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=resources.address, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"hydra.launcher.address={resources.address}: no Ray answers there: "
            f"{str(error).strip().splitlines()[0]}; one that asks for a token needs "
            "RAY_AUTH_MODE=token; null starts one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_room(resources: Resources) -> None:
    """A task that needs more than there is would wait forever."""
    if resources.num_cpus > cores():
        raise ConfigError(
            [f"hydra.launcher.num_cpus={resources.num_cpus}: this machine has {cores()}"]
        )
    import torch

    if resources.num_gpus > torch.cuda.device_count():
        raise ConfigError(
            [
                f"hydra.launcher.num_gpus={resources.num_gpus}: this machine has "
                f"{torch.cuda.device_count()}"
            ]
        )
