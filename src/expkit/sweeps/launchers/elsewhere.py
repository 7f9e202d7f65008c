"""Run the jobs of a sweep in other processes, on this machine or on another."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from expkit.terminal.errors import UserError, shortened
from hydra_plugins.expkit_launchers import ElsewhereLauncher


@dataclass(frozen=True)
class Work:
    """What every job needs; it is sent to their processes."""

    hydra_context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: Any
    folder: Path

    @classmethod
    def of(cls, launcher: ElsewhereLauncher) -> "Work":
        """Collect it in the process of the sweep."""
        context, config = launcher.hydra_context, launcher.config
        Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        return cls(context, config, launcher.task_function, Singleton.get_state(), Path.cwd())


def execute(work: Work, overrides: Sequence[str], number: int) -> JobReturn:
    """Run one job in the process that it was sent to."""
    if work.folder.is_dir():  # another machine may not have it
        os.chdir(work.folder)
    Singleton.set_state(work.singletons)
    config = work.hydra_context.config_loader.load_sweep_config(work.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{number}"
        config.hydra.job.num = number
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=work.hydra_context,
        config=config,
        task_function=work.task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


class Lost(UserError):
    """A job's process ended without a result; the message says what its launcher knows."""


def without_result(overrides: Sequence[str], why: str) -> JobReturn:
    """Return a failure on behalf of a job whose process ended without a result."""
    failed = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
    failed.return_value = Lost(shortened(" ".join(why.split()), 500))
    return failed
