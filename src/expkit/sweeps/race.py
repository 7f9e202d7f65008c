"""A race: all configurations with one seed, and further seeds only for those that may still be the best.

F-Race (Birattari and others 2002) drops what a test of ranks finds worse, and this race what is not in the model
confidence set of `comparison/verdict.py`.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig

from expkit.comparison.verdict import Undefined, Verdict
from expkit.config.direction import known_scores, owner_of
from expkit.config.trust import typed_value
from expkit.sweeps.grid import begin, check_options, hand_over, run_jobs, sum_up, threads, typed
from expkit.sweeps.plan import PlannedJob, compose, fingerprint_of, named, plan
from expkit.terminal.display import number, say, table
from expkit.terminal.errors import ConfigError, UserError
from expkit.tracking.past import RACE
from expkit.tracking.sweep import SweepRun, open_sweep

ERROR = 0.05  # the chance that a race drops what is no worse than the best, all looks together


def decide(
    names: Iterable[str],
    seeds: int,
    margin: float | None,
    run: Callable[[Sequence[str], int], Mapping[str, Any]],
    judge: Callable[[Mapping[str, Sequence[Any]], float], Verdict],
) -> tuple[dict[str, str], float]:
    """Run rounds until one configuration is left, or all seeds are used; return why the others were dropped.

    Nothing is dropped after one seed, because what seeds change is unknown then. Returns also the level of the last
    look, at which to judge what is left: a look at another level would spend more error.

    Args:
        margin: the race also ends when all differ from the best by an interval within ± this.
        run: carries out the round of this number; returns something for each run that has finished.
        judge: gives the verdict on all that `run` has returned, at a level of confidence.
    """
    runs: dict[str, list[Any]] = {name: [] for name in names}
    dropped: dict[str, str] = {}
    for k in range(seeds):
        surety = level(k + 1, seeds)
        for name, made in run(list(runs), k).items():
            runs[name].append(made)
        dropped |= {n: "dropped: no run has finished" for n, made in runs.items() if not made}
        runs = {name: made for name, made in runs.items() if made}
        if len(runs) < 2:
            break
        try:
            found = judge(runs, surety)
        except Undefined:
            if k > 0:
                raise
            continue  # nothing is dropped yet
        for s in found.standings if k > 0 else ():
            if not s.survives:
                del runs[s.name]
                why = f"{found.standings[0].name} is better: {found.difference(s)}, p {s.p:.3f}"
                why = "the score of a seed is not defined" if math.isnan(s.score) else why
                dropped[s.name] = f"dropped after {k + 1} seeds: {why}"
        equal = margin and all(max(-s.low, s.high) <= margin for s in found.survivors)
        if k > 0 and (len(runs) == 1 or equal):
            break
    return dropped, surety


def level(count: int, seeds: int) -> float:
    """Return the level of confidence after `count` of the seeds.

    Each look may spend a part of the error: that by which the spending function a ln(1 + (e - 1) t) has grown since
    the look before, where t is the share of the seeds (Lan and DeMets 1983, https://doi.org/10.1093/biomet/70.3.659).
    The look after one seed drops nothing and spends nothing.
    """
    now, before = (1 + (math.e - 1) * n / seeds for n in (count, count - 1 if count > 2 else 0))
    return 1 - ERROR * math.log(now / before)


def race(
    context: HydraContext,
    master: DictConfig,
    launcher: Launcher,
    combinations: Sequence[Sequence[str]],
    max_batch_size: int | None,
    max_seeds: int,
    margin: float | None,
) -> str:
    """Run a race under one parent run, print what became of each configuration, and return the id of the parent.

    Raises:
        ConfigError: something is wrong with the race; no job was started.
        UserError: jobs have failed, or there is no verdict on those that have run.
    """
    check_options(master.hydra.launcher, max_batch_size)
    if margin is not None and (type(margin) not in (int, float) or not 0 < margin < math.inf):
        raise ConfigError(f"hydra.sweeper.margin={margin!r}: must be null or a number above 0")
    rivals = planned(context.config_loader, master, combinations, max_seeds)
    jobs = [job for of_one in rivals.values() for job in of_one]
    begin(jobs[0].config)
    name, command = f"race: {', '.join(jobs[0].differing)}", typed(master)
    identity = fingerprint_of(jobs, [f"race, margin {margin}"])
    with open_sweep(jobs[0].config, identity, name, command) as opened:
        say(f"{name} ({opened.id}): {len(rivals)} configurations, at most {len(jobs)} jobs")
        at_once: int = getattr(launcher, "at_once", len(rivals))
        size = max_batch_size or at_once
        # All rounds have as many threads, because their number decides the last bits of the results.
        hand_over(master, opened.id, threads(launcher, min(size, len(rivals))))
        _hold(opened, launcher, size, rivals, margin)
    return opened.id


def _hold(
    opened: SweepRun,
    launcher: Launcher,
    size: int,
    rivals: Mapping[str, Sequence[PlannedJob]],
    margin: float | None,
) -> None:
    started: list[PlannedJob] = []
    seeds, config = next((len(jobs), jobs[0].config) for jobs in rivals.values())
    stops = config["sweep"]["on_failure"] == "stop"

    def run(left: Sequence[str], k: int) -> dict[str, list[str]]:
        jobs = [rivals[name][k] for name in left]
        waiting = [job for job in jobs if not opened.is_done(job)]
        say(f"seed {k + 1}: {len(jobs)} jobs, {len(jobs) - len(waiting)} had finished before")
        started.extend(jobs)
        rows = run_jobs(opened, launcher, jobs, waiting, size)
        for row in rows:
            if row.state == "RUNNING" or (stops and row.state != "FINISHED"):
                raise UserError(f"{row.name} is {row.state.lower()}")
        return {n: [r.run_id] for n, r in zip(left, rows, strict=True) if r.state == "FINISHED"}

    try:
        dropped, surety = decide(
            rivals, seeds, margin, run, lambda runs, of: opened.verdict(runs, config, of)
        )
    except UserError as error:
        sum_up(opened, opened.rows(started), started)
        raise UserError(f"the race ends undecided: {error}; hydra/sweeper=grid runs all") from error
    rows = opened.rows(started)
    columns = ["configuration", "seeds", "mean", "state"]
    cells: list[list[Any]] = []
    for name in sorted(rivals, key=lambda name: name in dropped):
        values = [r.value for r in rows if _name(r.differing) == name and r.value is not None]
        mean = fmean(values) if values else None
        cells.append([name, len(values), mean, dropped.get(name, "in the set")])
    shown = [[n, str(k), "" if m is None else number(m), state] for n, k, m, state in cells]
    table(opened.name, columns, shown)
    opened.log_cells("race.json", columns, cells)
    left = [row for row in rows if _name(row.differing) not in dropped]
    runs = [row.run_id for row in left if row.run_id]
    opened.tag(RACE, json.dumps({"left": runs, "level": surety}))
    names = [name for name in rivals if name not in dropped]
    words = [f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} left of {len(rivals)}"]
    sum_up(opened, rows, started, left, words, level=surety)
    if unfinished := sum(row.state != "FINISHED" for row in rows):
        raise UserError(f"{unfinished} of {len(rows)} jobs have not finished")


def _name(differing: Mapping[str, str]) -> str:
    return named({key: value for key, value in differing.items() if key != "seed"})


def planned(
    loader: ConfigLoader, master: DictConfig, combinations: Sequence[Sequence[str]], most: Any
) -> dict[str, list[PlannedJob]]:
    """Compose and check the jobs of each configuration, one for each seed, or raise a ConfigError.

    The seeds are those that were typed, if several were, or else that of the first configuration and the next numbers.
    """
    if type(most) is not int or most < 2:
        raise ConfigError(f"hydra.sweeper.max_seeds={most!r}: must be a whole number of at least 2")
    split = [[(*typed_value(o), o) for o in overrides] for overrides in combinations]
    seeds = list(dict.fromkeys(value for of in split for key, value, _ in of if key == "seed"))
    if len(seeds) < 2:
        first = compose(loader, master, combinations[0]).config["seed"]
        seeds = [str(first + k) for k in range(most)]
    others = dict.fromkeys(tuple(o for key, _, o in of if key != "seed") for of in split)
    jobs = plan(loader, master, [[*o, f"seed={s}"] for s in seeds[:most] for o in others])
    rivals: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        rivals.setdefault(_name(job.differing), []).append(job)
    configs = [job.config for job in jobs]
    score = configs[0]["objective"].partition("/")[2]
    contests = {(c["task"]["_target_"], c["objective"], c["direction"]) for c in configs}
    wrong = {
        "one configuration has no rival; type several, such as optimizer=adamw,sgd": len(rivals)
        < 2,
        "tasks or objectives differ, and their scores cannot be compared": len(contests) > 1,
        "data.folds: its jobs are single runs": any(c["data"].get("folds") for c in configs),
        f"objective={configs[0]['objective']}: is no score of task.metrics, such as "
        f"{', '.join(name for name, _ in known_scores(configs[0]['task']))}": not owner_of(
            configs[0]["task"], score
        ),
    }
    if problems := [f"hydra/sweeper=race: {why}" for why, is_so in wrong.items() if is_so]:
        raise ConfigError(problems)
    return rivals
