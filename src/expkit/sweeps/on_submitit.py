"""Jobs of a sweep by submitit: a Slurm job for each, or a process of this machine.

All of them are waited for, whatever becomes of one (hydra-submitit-launcher gives up with the first that
dies, while others are at work or in the queue).
"""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import submitit
from hydra.core.utils import JobReturn, JobStatus

from expkit.errors import ConfigError, UserError
from expkit.sweeps.elsewhere import Work, execute, without_result
from expkit.sweeps.job import terminate

# What submitit takes for all clusters; the names of all other options get the cluster's before them.
COMMON = ("cpus_per_task", "gpus_per_node", "mem_gb", "name", "stderr_to_stdout", "timeout_min")


@dataclass(frozen=True)
class Submission:
    """Where jobs go, with what options, and the folder for what they print."""

    cluster: str
    folder: str
    options: Mapping[str, Any]


def launch(
    submission: Submission, work: Work, jobs: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Run the jobs; returns when all have ended. Ctrl-C cancels what is left of them.

    Raises:
        ConfigError: submitit does not take an option.
        UserError: there is no such cluster here, or it refuses the jobs.
    """
    executor = _executor(submission)
    try:
        numbers = range(first, first + len(jobs))
        submitted = executor.map_array(partial(carry_out, work), jobs, numbers)
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"{submission.cluster} refuses the jobs: {error}") from error
    try:
        return [_result(*pair) for pair in zip(submitted, jobs, strict=True)]
    except KeyboardInterrupt:
        for job in submitted:
            job.cancel(check=False)
        raise


def carry_out(work: Work, overrides: Sequence[str], number: int) -> JobReturn:
    """One job, in the process that submitit has started.

    Its run ends as KILLED when it is told that its time is up, whatever it does at that moment.
    """
    for signum in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(signum, terminate)
    try:
        return execute(work, overrides, number)
    except KeyboardInterrupt:
        return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)


def _executor(submission: Submission) -> submitit.Executor:
    try:
        executor = submitit.AutoExecutor(submission.folder, cluster=submission.cluster)
    except RuntimeError as error:
        raise UserError(f"hydra/launcher=submitit_{submission.cluster}: {error}") from error
    options = {
        name if name in COMMON else f"{submission.cluster}_{name}": value
        for name, value in submission.options.items()
    }
    try:
        executor.update_parameters(**options)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise ConfigError([f"hydra.launcher: {str(error).splitlines()[0]}"]) from error
    return executor


def _result(job: submitit.Job[JobReturn], overrides: Sequence[str]) -> JobReturn:
    try:
        return job.results()[0]
    except Exception as error:  # whatever became of the job, the others go on
        said = UserError(
            f"its process has left no result; what it printed is in {job.paths.folder}"
        )
        said.__cause__ = error
        return without_result(overrides, said)
