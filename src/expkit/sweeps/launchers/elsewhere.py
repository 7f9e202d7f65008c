"""Jobs of a sweep in other processes, on this machine or on another."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from expkit.terminal.errors import UserError, shortened


@dataclass(frozen=True)
class Work:
    """What all jobs need; it is sent to their processes."""

    hydra_context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: Any
    folder: Path


def execute(work: Work, overrides: Sequence[str], number: int) -> JobReturn:
    """One job, in the process that it was sent to."""
    if work.folder.is_dir():  # on another machine it need not be there
        os.chdir(work.folder)
    setup_globals()
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
    """The process of a job is gone and has left no result; the message says what its launcher knows."""


def without_result(overrides: Sequence[str], why: str) -> JobReturn:
    """What a job returns whose process could not: it has failed."""
    failed = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
    failed.return_value = Lost(shortened(" ".join(why.split()), 500))
    return failed
