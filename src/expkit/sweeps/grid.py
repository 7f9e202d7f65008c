"""A sweep, top to bottom: plan, skip what is finished, launch, launch again, sum up."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from expkit.comparison import glue
from expkit.config.composition import work_has_begun
from expkit.config.glue import task_in
from expkit.config.project import project_root, require_outputs
from expkit.config.texts import as_typed
from expkit.processes.context import JobContext
from expkit.processes.cores import cores, share_of_cores
from expkit.processes.interrupts import ends_jobs_first
from expkit.processes.ranks import count
from expkit.sweeps.chains import batches, chained, tidy_up
from expkit.sweeps.folds import over_folds
from expkit.sweeps.launchers.elsewhere import Lost
from expkit.sweeps.plan import PlannedJob, fingerprint_of, plan, quoted
from expkit.sweeps.summary import best_rows, show
from expkit.terminal.display import say
from expkit.terminal.errors import ConfigError, UserError, reason, shortened
from expkit.terminal.quiet import hush
from expkit.tracking.sweep import Row, SweepRun, marked_of, open_sweep
from expkit.tracking.verdicts import words_of

HAS_FAILED = ("FAILED", "KILLED")


def sweep(
    context: HydraContext,
    master: DictConfig,
    launcher: Launcher,
    combinations: Sequence[Sequence[str]],
    max_batch_size: int | None,
) -> str:
    """Run all jobs under one parent run, print a table of how each one ended, and return the id of the parent.

    Raises:
        ConfigError: a job's configuration is wrong; no job was started.
        UserError: a job has failed; the others have run, unless `sweep.on_failure=stop`.
    """
    check_options(master.hydra.launcher, max_batch_size)
    jobs = plan(context.config_loader, master, combinations)
    config = jobs[0].config
    begin(config)
    jobs = chained(jobs)
    command = typed(master)
    name = f"sweep: {', '.join(jobs[0].differing) or jobs[0].name}"
    with open_sweep(config, fingerprint_of(jobs), name, command) as opened:
        say(f"{name} ({opened.id}): {len(jobs)} jobs")
        waiting = [job for job in jobs if not opened.is_done(job)]
        if len(waiting) < len(jobs):
            say(f"{len(jobs) - len(waiting)} of them had finished before")
        at_once: int = getattr(launcher, "at_once", len(jobs))
        size = max_batch_size or at_once
        hand_over(master, opened.id, threads(launcher, min(size, len(waiting))))
        try:
            rows = run_jobs(opened, launcher, jobs, waiting, size)
        except UserError:  # the cluster takes no more jobs, but some may have ended before
            rows = opened.rows(jobs)
            if any(row.run_id for row in rows):
                sum_up(opened, rows, jobs)
            raise
        sum_up(opened, rows, jobs)
        tidy_up(opened, jobs, rows)
        left = [row for row in rows if row.state != "FINISHED"]
        if left:
            raise UserError(f"{len(left)} of {len(rows)} jobs have not finished")
    return opened.id


def typed(master: DictConfig) -> list[str]:
    """Return the overrides that were typed, those of launcher and sweeper first."""
    of_hydra = [o for o in as_typed(master.hydra.overrides.hydra) if o != "hydra.mode=MULTIRUN"]
    return [*of_hydra, *as_typed(master.hydra.overrides.task)]


def begin(config: Mapping[str, Any]) -> None:
    """Prepare this process to run jobs whose configuration has been checked.

    Args:
        config: that of one of the jobs.

    Raises:
        ConfigError: the command asks for something that only a single run can do.
        UserError: the outputs cannot be written.
    """
    if (processes := count()) > 1:
        raise ConfigError(
            f"a sweep cannot run in the {processes} processes of torchrun or accelerate; "
            f"python -m expkit -m ... launch.processes={processes} starts them for each job"
        )
    if config["dry_run"]:
        raise ConfigError("dry_run=true: is for a single run; leave out -m")
    if (resume := config["resume"]) not in ("never", "auto"):
        raise ConfigError(f"resume={resume}: is for a single run; a sweep goes on with resume=auto")
    require_outputs()
    work_has_begun.set()
    hush()


def sum_up(
    opened: SweepRun,
    rows: Sequence[Row],
    jobs: Sequence[PlannedJob] = (),
    rivals: Sequence[Row] = (),
    words: Sequence[str] = (),
    **how: Any,
) -> None:
    """Write the summary to the terminal and to the parent run.

    Args:
        rivals: the rows that can be the best; by default all.
        words: what to say before the verdict.
        how: see `tracking/verdicts.py:judged`.
    """
    folded = over_folds(rows, jobs, opened.artifact) if jobs else []
    records = [record for _, of_one in folded for record in of_one]
    best = best_rows([row for row, _ in folded] or rivals or rows)
    judged = opened.judge(rivals or rows, **how)
    words = [*words, *words_of(judged)]
    show(opened.name, opened.id, rows, best, marked_of(best, judged), words, records)
    opened.conclude(rows, best, judged, words)
    if records:
        opened.log_folds(records)
    columns, cells = glue.table_of(list(glue_jobs(rows, jobs)))
    if cells:
        opened.log_cells("glue.json", columns, cells)
        glue.show(opened.name, columns, cells)


def glue_jobs(rows: Sequence[Row], jobs: Sequence[PlannedJob]) -> Iterator[glue.Scored]:
    """Yield the jobs on tasks of GLUE; the trials of a search are none."""
    for row, job in zip(rows, jobs, strict=False):
        if task := task_in(job.config.get("data", {})):
            yield task, row.differing, row.metrics if row.state == "FINISHED" else {}


def check_options(launcher: Mapping[str, Any], max_batch_size: Any) -> None:
    """Raise a ConfigError if an option that counts jobs is not a valid number."""
    options = {"hydra.sweeper.max_batch_size": (max_batch_size, 1)}
    if "n_jobs" in launcher:
        options["hydra.launcher.n_jobs"] = (launcher["n_jobs"], -cores())
    problems = [
        f"{key}={value!r}: expected null or a whole number of at least {least}, except 0"
        for key, (value, least) in options.items()
        if value is not None and (type(value) is not int or value < least or value == 0)
    ]
    if problems:
        raise ConfigError(problems)


def run_jobs(
    opened: SweepRun,
    launcher: Launcher,
    jobs: Sequence[PlannedJob],
    waiting: Sequence[PlannedJob],
    size: int,
) -> list[Row]:
    """Launch those of the jobs that are waiting, and again those that fail; return the rows of all jobs."""
    config = jobs[0].config
    stops = config["sweep"]["on_failure"] == "stop"
    if stops and hasattr(launcher, "on_loss"):
        launcher.on_loss = opened.stop
    for _ in range(1 + retries(config)):
        launch_all(opened, launcher, waiting, size, stops=stops)
        rows = opened.rows(jobs)
        waiting = [j for j, r in zip(jobs, rows, strict=True) if r.state in HAS_FAILED]
    return rows


def launch_all(
    opened: SweepRun, launcher: Launcher, jobs: Sequence[PlannedJob], size: int, *, stops: bool
) -> None:
    """Let the launcher run the jobs, `size` of them at once, each after the one that it continues.

    When a process dies, some launchers give up, and the jobs that run at that time are lost. The jobs
    that have not finished are then launched one by one, so that a job that crashes its process
    takes no other job with it. A job whose process was lost before it could run is also launched once
    more. A sweep that `stops` at the first failure does neither.
    """
    start = 0
    for batch in batches(jobs, size):
        lost = lost_by(opened, launcher, batch, start)
        start += len(batch)
        if stops and lost is None:
            return
        again = ("KILLED", "NOT STARTED") if lost is None else ("NOT STARTED",)
        left = [] if stops else batch if lost is None else lost
        for job, row in zip(left, opened.rows(left), strict=True):
            if row.state in again:
                lost_by(opened, launcher, [job], job.number)


def lost_by(
    opened: SweepRun, launcher: Launcher, jobs: Sequence[PlannedJob], first: int
) -> list[PlannedJob] | None:
    """Launch jobs; return those whose processes left no result, or None if the launcher gave up."""
    overrides = [[*job.overrides, f"run_name={quoted(job.name)}"] for job in jobs]
    returns = launched(opened, launcher, overrides, first)
    if returns is None:
        return None
    lost = []
    for job, done in zip(jobs, returns, strict=False):
        if done.status == JobStatus.FAILED:
            opened.end_lost(job)
            if isinstance(done._return_value, Lost):
                lost.append(job)
    return lost


def launched(
    opened: SweepRun, launcher: Launcher, jobs: Sequence[Sequence[str]], first: int = 0
) -> Sequence[JobReturn] | None:
    """Launch jobs, given by their overrides; return their results, or None if the launcher gave up."""
    in_this_process = isinstance(launcher, BasicLauncher)
    try:
        with nullcontext() if in_this_process else ends_jobs_first(opened.end_jobs):
            returns = launcher.launch(jobs, initial_job_idx=first)
    except UserError:
        raise
    except Exception as error:  # whatever a launcher or its cluster raises
        text = " ".join(f"{type(error).__name__}: {error}".split())
        say(f"the launcher gave up: {shortened(text, 500)}")
        return None
    for job, done in zip(jobs, returns, strict=False):
        if done.status == JobStatus.FAILED:  # no run in MLflow says why
            say(f"no result: {' '.join(job)}: {reason(done._return_value)}")
    return returns


def hand_over(master: DictConfig, sweep: str, threads: int | None) -> JobContext:
    """Tell every job its project, the id of its sweep and its number of threads."""
    context = JobContext(project=str(project_root()), sweep=sweep, threads=threads)
    given = [context_override(context)]
    # A job in another process might otherwise find another project, and with it another folder.
    given.append(f"hydra.sweep.dir={quoted(str(master.hydra.sweep.dir))}")
    with open_dict(master):
        master.hydra.overrides.hydra.extend(given)
    return context


def context_override(context: JobContext) -> str:
    """Return the override of Hydra that passes its context to a job."""
    ((name, value),) = context.variables().items()
    return f"++hydra.job.env_set.{name}={quoted(value)}"


def threads(launcher: Launcher, jobs: int) -> int | None:
    """Return how many threads each of so many jobs may use, or None for as many as it wants."""
    if hasattr(launcher, "threads"):  # a launcher of expkit
        return launcher.threads(jobs)
    if not hasattr(launcher, "joblib"):  # Hydra's own launcher runs one job after another
        return None
    workers = launcher.joblib["n_jobs"] or 1  # joblib counts negative numbers from the cores down
    return share_of_cores(min(workers if workers > 0 else cores() + 1 + workers, jobs))


def retries(config: Mapping[str, Any]) -> int:
    """Return how often a job that fails is launched again."""
    settings = config["sweep"]
    return int(settings["retries"]) if settings["on_failure"] == "retry" else 0
