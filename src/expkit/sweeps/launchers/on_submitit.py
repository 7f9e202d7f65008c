"""Jobs of a sweep by submitit: a Slurm job for each, or a process of this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count

import submitit
from hydra.core.utils import JobReturn, JobStatus

from expkit.processes.interrupts import end_on_signals, unheard
from expkit.sweeps.launchers.elsewhere import Work, execute, without_result
from expkit.terminal.errors import ConfigError, UserError
from hydra_plugins.expkit_launchers import SlurmLauncher

# What submitit takes for all clusters; the names of all other options get the cluster's before them.
COMMON = ("cpus_per_task", "gpus_per_node", "mem_gb", "name", "stderr_to_stdout", "timeout_min")
ENDED = "BF,CA,CD,DL,F,NF,OOM,PR,TO"  # states of Slurm, from BOOT_FAIL to TIMEOUT
LOOKS_EVERY = 10  # seconds between two questions to Slurm
TASKS = {"nodes", "ntasks_per_node", "tasks_per_node"}  # would run each job several times


def launch(launcher: SlurmLauncher, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs; returns when all have ended. Ctrl-C cancels what is left of them.

    Raises:
        ConfigError: submitit does not take an option.
        UserError: there is no such cluster here, or it refuses the jobs.
    """
    executor = _executor(launcher)
    try:
        numbers = range(first, first + len(jobs))
        with unheard(signal.SIGINT):  # of a terminal: jobs of this machine are asked by SIGTERM
            submitted = executor.map_array(partial(carry_out, launcher.work()), jobs, numbers)
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"{launcher.cluster} refuses the jobs: {error}") from error
    try:
        return [_result(*pair, launcher.on_loss) for pair in zip(submitted, jobs, strict=True)]
    except KeyboardInterrupt:
        for job in submitted:
            _cancel(job)
        raise


def carry_out(work: Work, overrides: Sequence[str], number: int) -> JobReturn:
    """One job, in the process that submitit has started.

    Its run ends as KILLED when it is told that its time is up; submitit's own way would leave it as it
    is.
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
            os.kill(int(job.job_id), signal.SIGTERM)  # its own `cancel` gives a second to finish
    else:
        job.cancel(check=False)


def _result(
    job: submitit.Job[JobReturn], overrides: Sequence[str], on_loss: Callable[[], None]
) -> JobReturn:
    state = _gone_as(job)
    try:
        if state is None:
            return job.results()[0]
    except Exception:  # whatever became of the job, the others go on
        state = job.state
    on_loss()
    where = f"what it printed is in {job.paths.folder}"
    return without_result(overrides, f"its process has left no result (state {state}); {where}")


def _gone_as(job: submitit.Job[JobReturn]) -> str | None:
    """Wait for a job; how it has ended if Slurm says so, twice, and there is no result.

    Submitit asks `sacct`, which knows nothing on a Slurm without accounting.
    """
    before = None
    for seconds in count(1):
        if job.done():
            break
        time.sleep(1.0)
        if seconds % LOOKS_EVERY == 0 and isinstance(job, submitit.SlurmJob):
            said = _state_of_ended(job.job_id)
            if before and said and not job.done():
                return said
            before = said
    return None


def _state_of_ended(job_id: str) -> str | None:
    """What Slurm says of a job that has ended; None of others, and if Slurm does not answer."""
    command = ["squeue", "--noheader", f"--states={ENDED}", f"--jobs={job_id}", "--format=%T %r"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    # It is forgotten some minutes after its end.
    return "unknown" if "Invalid job id" in asked.stderr else asked.stdout.strip() or None
