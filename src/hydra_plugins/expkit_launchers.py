"""Hydra finds launchers only in this package; what they do is in expkit.sweeps.launchers.

Hydra imports this file whenever it starts, so the file imports nothing that takes time.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from expkit.processes.cores import cores, share_of_cores


class ElsewhereLauncher(Launcher):
    """Sends jobs to other processes and waits for all of them, even if some fail.

    It calls `on_loss` as soon as it knows that the process of a job has ended without a result.
    """

    module: str  # the module with the function `launch`, imported when it is needed
    on_loss: Callable[[], None] = staticmethod(lambda: None)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra passes; Hydra calls this once."""
        self.config = config
        self.task_function = task_function
        self.hydra_context = hydra_context

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and wait for all of them; a sweeper calls this."""
        return import_module(self.module).launch(self, job_overrides, initial_job_idx)


class RayLauncher(ElsewhereLauncher):
    """Runs each job as a Ray task.

    Args:
        address: the address of a cluster, or None to start Ray on this machine for the sweep.
        num_cpus: what each task reserves.
        num_gpus: what each task reserves.
    """

    module = "expkit.sweeps.launchers.on_ray"

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.address = address
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus

    def threads(self, jobs: int) -> int:
        """Return how many threads each job may use."""
        return max(int(self.num_cpus), 1)


class SlurmLauncher(ElsewhereLauncher):
    """Runs each job as a Slurm job, with the options of conf/hydra/launcher/submitit_slurm.yaml."""

    module = "expkit.sweeps.launchers.on_submitit"
    cluster = "slurm"

    def __init__(self, submitit_folder: str, **options: Any) -> None:
        self.folder = submitit_folder
        self.options = options

    def threads(self, jobs: int) -> int | None:
        """Return how many threads each job may use, since Slurm need not bind a job to its cores."""
        return self.options["cpus_per_task"]


class LocalLauncher(SlurmLauncher):
    """Runs each job as a process of this machine."""

    cluster = "local"

    @property
    def at_once(self) -> int:
        """How many jobs a sweep may hand over together, as submitit starts all that it gets."""
        return cores()

    def threads(self, jobs: int) -> int:
        """Return how many threads each of so many jobs may use."""
        return share_of_cores(jobs)
