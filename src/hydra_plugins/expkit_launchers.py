"""Hydra takes launchers from this package only; what they do is in expkit.sweeps.

Hydra imports this file at every start, so it imports nothing that takes time.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from expkit.sweeps.launchers.elsewhere import Work


class ElsewhereLauncher(Launcher):
    """Sends jobs to other processes, and waits for all of them, whatever becomes of one.

    `on_loss` is called as soon as it is known that the process of a job is gone without a result.
    """

    module: str  # whose function `launch` does it; imported when it is needed
    on_loss: Callable[[], None] = staticmethod(lambda: None)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember it; called by Hydra."""
        self.config = config
        self.task_function = task_function
        self.hydra_context = hydra_context

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and wait for all of them; called by a sweeper."""
        return import_module(self.module).launch(self, job_overrides, initial_job_idx)

    def work(self) -> "Work":
        """What is sent to the processes of all jobs."""
        from expkit.sweeps.launchers.elsewhere import Work

        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        setup_globals()
        known = Singleton.get_state()
        return Work(self.hydra_context, self.config, self.task_function, known, Path.cwd())


class RayLauncher(ElsewhereLauncher):
    """Each job is a Ray task.

    Args:
        address: of a cluster; None: a Ray of its own on this machine, for as long as it is needed.
        num_cpus: of each task.
        num_gpus: of each task.
    """

    module = "expkit.sweeps.launchers.on_ray"

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.address = address
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus


class SlurmLauncher(ElsewhereLauncher):
    """Each job is a Slurm job; the options are those of conf/hydra/launcher/submitit_slurm.yaml."""

    module = "expkit.sweeps.launchers.on_submitit"
    cluster = "slurm"

    def __init__(self, submitit_folder: str, **options: Any) -> None:
        self.folder = submitit_folder
        self.options = options


class LocalLauncher(SlurmLauncher):
    """The same with processes of this machine."""

    cluster = "local"
