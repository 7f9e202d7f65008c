"""A search with Optuna, top to bottom: open the study, let workers fill it, sum up.

The study is a queue. The launcher starts workers as it starts jobs, and each takes trials from the
study until it has `n_trials`. A search that was cut off goes on with the same study.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from math import isfinite
from time import sleep
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from expkit.config.project import is_file_name
from expkit.processes.context import JobContext
from expkit.sweeps.grid import (
    begin,
    context_override,
    hand_over,
    launched,
    sum_up,
    threads,
    typed,
)
from expkit.sweeps.plan import PlannedJob, fingerprint_of, plan
from expkit.sweeps.search.space import as_overrides, probes, search_space, shown
from expkit.sweeps.search.trials import ERROR, FINGERPRINT, NAME, Settings, Trials, make_study
from expkit.terminal.display import number, say
from expkit.terminal.errors import ConfigError, UserError, nearest
from expkit.tracking.sweep import DIED, Row, SweepRun, open_sweep

SAMPLERS = ("tpe", "random")
PRUNERS = ("none", "median", "hyperband")
AT_LEAST = {"n_trials": 1, "n_jobs": 1, "startup_trials": 0, "seed": 0}
POLL_SECONDS = 1.0  # between two looks at trials that still run after their launcher gave up


def search(
    hydra_context: HydraContext,
    master: DictConfig,
    launcher: Launcher,
    arguments: Sequence[str],
    options: dict[str, Any],
) -> str:
    """Run trials under one parent run until there are `n_trials`, print the best, and return the id of the parent.

    Args:
        arguments: overrides, with those of `hydra.sweeper.params` first.
        options: the options of hydra/sweeper=optuna.

    Raises:
        ConfigError: something is wrong with the search; no trial was started.
        UserError: fewer than `n_trials` have ended, or none of them has an objective.
    """
    check_options(options, master)
    fixed, space = search_space(hydra_context.config_loader, arguments)
    tried = plan(hydra_context.config_loader, master, [[*fixed, *probe] for probe in probes(space)])
    config = tried[0].config
    if folds := config["data"].get("folds"):
        raise ConfigError(
            f"data.folds={folds}: is not for hydra/sweeper=optuna, whose trials are single runs"
        )
    begin(config)
    ranges = [f"{key} {distribution_to_json(space[key])}" for key in sorted(space)]
    identity = fingerprint_of(tried[:1], ranges)
    command = typed(master)
    with open_sweep(config, identity, f"search: {', '.join(space)}", command) as opened:
        n_jobs = options.pop("n_jobs")
        settings = Settings(**{**options, "study_name": options["study_name"] or opened.id})
        trials = make_study(
            settings,
            direction=config["direction"],
            space=space,
            search=identity,
            goes_on=options["study_name"] is None or config["resume"] == "auto",
        )
        cut_off = trials.end_dead(trials.give_back)
        say(f"{opened.name} ({opened.id}): {settings.n_trials} trials")
        if ended := trials.ended():
            say(f"{ended} of them had ended before, {cut_off} were cut off")
        context = hand_over(master, opened.id, threads(launcher, n_jobs))
        stops = config["sweep"]["on_failure"] == "stop"
        fill(opened, trials, launcher, fixed, n_jobs, context, stops=stops)
        conclude(opened, trials, config)
    return opened.id


def fill(
    opened: SweepRun,
    trials: Trials,
    launcher: Launcher,
    fixed: Sequence[str],
    n_jobs: int,
    context: JobContext,
    *,
    stops: bool,
) -> None:
    """Launch workers until the study has its trials.

    When a process dies, some launchers end the other workers too. The trials that were running then
    run again, one after another, so that only the trial that takes its process down fails.
    """
    failed, n_trials = trials.failed(), trials.settings.n_trials
    while (left := n_trials - trials.ended()) > 0:
        if stops and trials.failed() > failed:
            return
        suspects = trials.suspects()
        workers = 1 if suspects else min(n_jobs, left)
        order = {"settings": asdict(trials.settings), "most": suspects or left}
        job = [*fixed, context_override(replace(context, search=order))]
        launched(opened, launcher, [job] * workers)
        while trials.started_here(alive=True):
            sleep(POLL_SECONDS)
        fail, run_again = partial(trials.fail, why=DIED), partial(trials.give_back, suspect=True)
        dead = trials.end_dead(fail if workers == 1 else run_again)
        if not dead and left == n_trials - trials.ended():
            return  # the workers could not even begin


def conclude(opened: SweepRun, trials: Trials, config: dict[str, Any]) -> None:
    """Write the summary; raise UserError if trials are missing or none has an objective."""
    rows = rows_of(opened, trials, config)
    sum_up(opened, rows)
    if not any(trial.state == TrialState.COMPLETE for trial in trials.begun()):
        raise UserError("no trial has produced an objective")
    parameters = " ".join(as_overrides(trials.study.best_params))
    opened.tag("expkit.best_parameters", parameters)
    say(f"best     {number(trials.study.best_value)} with {parameters}")
    n_trials = trials.settings.n_trials
    if missing := max(n_trials - trials.ended(), 0):
        raise UserError(f"{missing} of {n_trials} trials have not ended")


def rows_of(opened: SweepRun, trials: Trials, config: dict[str, Any]) -> list[Row]:
    """Describe how each trial ended, from its run in MLflow and from the study."""
    begun = trials.begun()
    unnamed = {**config, "run_name": None}
    jobs = [
        PlannedJob(t.number, (), shown(t.params), unnamed, t.user_attrs.get(FINGERPRINT, ""))
        for t in begun
    ]
    return [_judged(row, trial) for row, trial in zip(opened.rows(jobs), begun, strict=True)]


def _judged(row: Row, trial: FrozenTrial) -> Row:
    """Correct the row of a run: its trial may fail after the run has finished, or without a run."""
    row = replace(row, name=trial.user_attrs.get(NAME, row.name))
    if trial.state == TrialState.PRUNED:
        return replace(row, state="PRUNED", value=None)
    if trial.state != TrialState.FAIL or row.state == "FAILED":
        return row
    value = row.value if row.value is not None and isfinite(row.value) else None
    return replace(row, state="FAILED", value=value, error=trial.user_attrs.get(ERROR) or row.error)


def check_options(options: dict[str, Any], master: DictConfig) -> None:
    """Raise a ConfigError if a setting of the sweeper is wrong."""
    problems = []
    for key, allowed in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if options[key] not in allowed:
            problems.append(f"hydra.sweeper.{key}={options[key]}: {nearest(options[key], allowed)}")
    for key, least in AT_LEAST.items():
        value = options[key]
        if type(value) is not int or value < least:
            problems.append(
                f"hydra.sweeper.{key}={value}: must be a whole number of at least {least}"
            )
    if options["study_name"] is not None and not is_file_name(str(options["study_name"])):
        problems.append(
            f"hydra.sweeper.study_name={options['study_name']!r}: names a file, so it may contain "
            "letters, digits, spaces and . _ -"
        )
    if problems:
        raise ConfigError(problems)
    if options["n_jobs"] > 1 and master.hydra.runtime.choices["hydra/launcher"] == "basic":
        raise ConfigError(
            f"hydra.sweeper.n_jobs={options['n_jobs']}: hydra/launcher=basic runs one job after "
            "another; take joblib, ray, submitit_local or submitit_slurm"
        )
