"""Chains: jobs of a sweep that differ only in their number of steps, each of which continues a shorter one."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from omegaconf import OmegaConf

from expkit.config.fingerprint import digest_of_values, identity_of, without_length
from expkit.config.project import run_folder
from expkit.sweeps.job import KEEPS
from expkit.sweeps.plan import PlannedJob
from expkit.tracking.note import Row
from expkit.tracking.sweep import SweepRun

STEPS_IN_EPOCH = 1000  # taken for granted before any data are read; a job counts its own


def chained(jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
    """Tell each job after which other one to run, and let that one keep its state for it.

    Jobs of which one is the first half of the other, or more of it, form a chain. Where schedules depend on the
    number of steps, there are none.
    """
    alike: dict[tuple[str, bool], list[PlannedJob]] = {}
    for job in jobs:
        rest = digest_of_values(without_length(identity_of(job.config)))
        alike.setdefault((rest, job.config["train"]["max_steps"] is None), []).append(job)
    after: dict[str, str] = {}
    for members in alike.values():
        for shorter, longer in pairwise(sorted(members, key=_steps)):
            if _is_worth_it(shorter, longer):
                after[longer.fingerprint] = shorter.fingerprint
    keeping = set(after.values())
    return [
        replace(
            job,
            after=after.get(job.fingerprint, ""),
            overrides=(*job.overrides, KEEPS) if job.fingerprint in keeping else job.overrides,
        )
        for job in jobs
    ]


def batches(jobs: Sequence[PlannedJob], size: int) -> Iterator[Sequence[PlannedJob]]:
    """Yield at most `size` jobs at a time, none before the one that it is to continue."""
    while jobs:
        waiting = {job.fingerprint for job in jobs}
        wave = [job for job in jobs if job.after not in waiting]
        for start in range(0, len(wave), size):
            yield wave[start : start + size]
        jobs = [job for job in jobs if job.after in waiting]


def tidy_up(opened: SweepRun, jobs: Sequence[PlannedJob], rows: Sequence[Row]) -> None:
    """Remove the states that were kept only for jobs that have finished."""
    finished = {j.fingerprint: r for j, r in zip(jobs, rows, strict=True) if r.state == "FINISHED"}
    continued = {job.after for job in jobs if job.fingerprint in finished}
    for job in jobs:
        row = finished.get(job.fingerprint)
        is_superfluous = job.fingerprint in continued and not job.config["checkpoint"]["keep_final"]
        if row and is_superfluous and opened.owns(row.run_id):
            shutil.rmtree(run_folder(row.run_id) / "common", ignore_errors=True)


def _steps(job: PlannedJob) -> int:
    train = job.config["train"]
    return int(train["max_steps"] or train["epochs"] * STEPS_IN_EPOCH)


def _is_worth_it(shorter: PlannedJob, longer: PlannedJob) -> bool:
    from expkit.optim import common_steps  # imports torch, which most sweeps do without

    few, many = _steps(shorter), _steps(longer)
    return few < many and 2 * common_steps(OmegaConf.create(longer.config), few, many) >= few
