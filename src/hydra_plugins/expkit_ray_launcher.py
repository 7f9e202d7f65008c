"""Hydra takes launchers from this package only; what this one does is in expkit.sweeps.on_ray.

Hydra imports this file at every start, so it imports nothing that takes time.
"""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Each job is a Ray task.

    Args:
        address: of a cluster; None: a Ray of its own on this machine, for as long as it is needed.
        num_cpus: of each task.
        num_gpus: of each task.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.address = address
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what jobs need; called by Hydra."""
        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and wait for all of them; called by a sweeper."""
        from expkit.sweeps.on_ray import Resources, launch

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        return launch(
            Resources(self.address, self.num_cpus, self.num_gpus),
            self.hydra_context,
            self.config,
            self.task_function,
            [list(overrides) for overrides in job_overrides],
            initial_job_idx,
        )
