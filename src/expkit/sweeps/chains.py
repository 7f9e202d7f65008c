"""Chains: jobs of a sweep that differ only in their number of steps, each of which continues a shorter one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from omegaconf import OmegaConf

from expkit.config.fingerprint import digest_of_values, identity_of, without_length
from expkit.sweeps.plan import PlannedJob
from expkit.tracking.note import Row
from expkit.tracking.sweep import SweepRun

STEPS_IN_EPOCH = 100  # taken for granted before any data are read; a job counts its own


def chained(jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
    """Tell each job after which other one to run, and let that one keep its state for it."""
    keys = {j.fingerprint: digest_of_values(without_length(identity_of(j.config))) for j in jobs}
    known: dict[tuple[str, int, int], int] = {}
    ordered = sorted(jobs, key=lambda job: (keys[job.fingerprint], _steps(job)))
    after = {
        longer.fingerprint: shorter.fingerprint
        for shorter, longer in pairwise(ordered)
        if keys[shorter.fingerprint] == keys[longer.fingerprint]
        and _is_worth_it(shorter, longer, known)
    }
    keeps = dict.fromkeys(after.values(), ("++checkpoint.keep_final=true",))
    return [
        replace(j, after=after.get(key, ""), overrides=(*j.overrides, *keeps.get(key, ())))
        for key, j in zip(keys, jobs, strict=True)
    ]


def batches(jobs: Sequence[PlannedJob], size: int) -> Iterator[Sequence[PlannedJob]]:
    """Yield at most `size` jobs at a time, none before the one that it is to continue."""
    while jobs:
        waiting = {job.fingerprint for job in jobs}
        wave = [job for job in jobs if job.after not in waiting]
        yield from (wave[start : start + size] for start in range(0, len(wave), size))
        jobs = [job for job in jobs if job.after in waiting]


def tidy_up(opened: SweepRun, jobs: Sequence[PlannedJob], rows: Sequence[Row]) -> None:
    """Remove each state that was kept only for another job, if that one has finished."""
    of = {job.fingerprint: row for job, row in zip(jobs, rows, strict=True)}
    for job in jobs:
        is_over = job.after and of[job.fingerprint].state == of[job.after].state == "FINISHED"
        if is_over and not job.config["checkpoint"]["keep_final"]:
            opened.remove_common(of[job.after].run_id)


def _steps(job: PlannedJob) -> int:
    train = job.config["train"]
    return int(train["max_steps"] or train["epochs"] * STEPS_IN_EPOCH)


def _is_worth_it(
    shorter: PlannedJob, longer: PlannedJob, known: dict[tuple[str, int, int], int]
) -> bool:
    """Whether at least half of the shorter job is also the beginning of the longer one."""
    from expkit.optim import common_steps  # imports torch, which most sweeps do without

    few, many = _steps(shorter), _steps(longer)
    if few == many:
        return False
    key = digest_of_values({k: longer.config[k] for k in ("optimizer", "scheduler")}), few, many
    if key not in known:  # other seeds have the same schedule
        known[key] = common_steps(OmegaConf.create(longer.config), few, many)
    return 2 * known[key] >= few
