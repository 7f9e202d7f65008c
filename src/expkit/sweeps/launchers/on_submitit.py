"""Run the jobs of a sweep with submitit, each as a Slurm job or as a process of this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count

import submitit
from hydra.core.utils import JobReturn, JobStatus

from expkit.processes.interrupts import end_on_signals, unheard
from expkit.sweeps.launchers.elsewhere import Work, execute, without_result
from expkit.terminal.errors import ConfigError, UserError
from hydra_plugins.expkit_launchers import SlurmLauncher

# Options that submitit knows for every cluster. All other options have the cluster's name as a prefix.
COMMON = ("cpus_per_task", "gpus_per_node", "mem_gb", "name", "stderr_to_stdout", "timeout_min")
ENDED = "BF,CA,CD,DL,F,NF,OOM,PR,TO"  # Slurm's states of jobs that have ended
SECONDS_BETWEEN_QUERIES = 10  # of Slurm
TASKS = {"nodes", "ntasks_per_node", "tasks_per_node"}  # these would run each job several times


def launch(launcher: SlurmLauncher, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs and wait for all of them. Ctrl-C cancels those that have not ended.

    Raises:
        ConfigError: submitit does not accept an option.
        UserError: there is no such cluster here, or it refuses the jobs.
    """
    executor = _executor(launcher)
    try:
        numbers = range(first, first + len(jobs))
        with unheard(
            signal.SIGINT
        ):  # a terminal sends it to local jobs too; they get SIGTERM below
            submitted = executor.map_array(partial(carry_out, Work.of(launcher)), jobs, numbers)
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"{launcher.cluster} refuses the jobs: {error}") from error
    try:
        return [_result(launcher, *pair) for pair in zip(submitted, jobs, strict=True)]
    except KeyboardInterrupt:
        for job in submitted:
            _cancel(job)
        raise


def carry_out(work: Work, overrides: Sequence[str], number: int) -> JobReturn:
    """Run one job in the process that submitit has started.

    When the time of the job is up, its run ends as KILLED. With submitit's own handling of the signal,
    it would stay RUNNING.
    """
    end_on_signals()
    try:
        return execute(work, overrides, number)
    except KeyboardInterrupt:
        return JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)


def _executor(launcher: SlurmLauncher) -> submitit.Executor:
    for name in TASKS.intersection(launcher.options):
        raise ConfigError(
            f"hydra.launcher.{name}: a job is one task; launch.processes=N starts its processes"
        )
    try:
        executor = submitit.AutoExecutor(launcher.folder, cluster=launcher.cluster)
    except RuntimeError as error:
        raise UserError(f"hydra/launcher=submitit_{launcher.cluster}: {error}") from error
    options = {
        name if name in COMMON else f"{launcher.cluster}_{name}": value
        for name, value in launcher.options.items()
    }
    try:
        executor.update_parameters(**options)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise ConfigError(f"hydra.launcher: {str(error).splitlines()[0]}") from error
    return executor


def _cancel(job: submitit.Job[JobReturn]) -> None:
    if isinstance(job, submitit.LocalJob):
        with suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)  # `job.cancel` would leave it only a second
    else:
        job.cancel(check=False)


def _result(
    launcher: SlurmLauncher, job: submitit.Job[JobReturn], overrides: Sequence[str]
) -> JobReturn:
    state = _gone_as(job)
    try:
        if state is None:
            return job.results()[0]
    except Exception:  # whatever became of the job, the others go on
        state = job.state
    launcher.on_loss()
    where = f"what it printed is in {job.paths.folder}"
    return without_result(overrides, f"its process has left no result (state {state}); {where}")


def _gone_as(job: submitit.Job[JobReturn]) -> str | None:
    """Wait for a job; return its last state if Slurm says twice that it ended without a result.

    Submitit itself asks `sacct`, which knows nothing where Slurm runs without accounting.
    """
    before = None
    for seconds in count(1):
        if job.done():
            break
        time.sleep(1.0)
        if seconds % SECONDS_BETWEEN_QUERIES == 0 and isinstance(job, submitit.SlurmJob):
            said = _state_of_ended(job.job_id)
            if before and said and not job.done():
                return said
            before = said
    return None


def _state_of_ended(job_id: str) -> str | None:
    """Return the state of a job that has ended; None if it has not, or if Slurm does not answer."""
    command = ["squeue", "--noheader", f"--states={ENDED}", f"--jobs={job_id}", "--format=%T %r"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    # Slurm forgets a job some minutes after its end.
    return "unknown" if "Invalid job id" in asked.stderr else asked.stdout.strip() or None
