"""A worker of a search, which takes a trial, runs it, reports how it ended, and takes the next.

A worker that has finished a trial never waits for the others.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from expkit.config.texts import as_typed
from expkit.processes.context import job_context
from expkit.processes.exits import complain
from expkit.sweeps.grid import retries
from expkit.sweeps.job import carry_out, own_overrides
from expkit.sweeps.plan import PlannedJob, compose
from expkit.sweeps.search.space import as_overrides, shown
from expkit.sweeps.search.trials import FINGERPRINT, NAME, Promise, Settings, Trials
from expkit.terminal.errors import ConfigError, reason
from expkit.tracking.sweep import earlier_value, is_stopped, stop_sweep


def work(cfg: DictConfig, settings: Mapping[str, Any], most: int) -> None:
    """Run trials until the study has enough of them.

    Args:
        cfg: what all trials have in common.
        settings: the fields of Settings.
        most: how many trials this worker may run.
    """
    trials = Trials(Settings(**settings))
    stops = cfg.sweep.on_failure == "stop"
    for _ in range(most):
        if stops and is_stopped(cfg.tracking):
            return
        trial = trials.claim()
        if trial is None:
            return
        try:
            succeeded = _run(trial, trials, Promise(trials.settings, trial._trial_id))
        except BaseException:  # such as Ctrl-C; a process that is killed cannot do this
            trials.give_back(trial)
            raise
        if stops and not succeeded:
            stop_sweep(cfg.tracking)


def _run(trial: Trial, trials: Trials, promise: Promise) -> bool:
    """Run a trial and report it to the study; return whether it did not fail."""
    try:
        job = _composed(trial)
    except ConfigError as error:
        complain(error)
        trials.fail(trial, reason(error))
        return False
    trial.set_user_attr(NAME, job.name)
    trial.set_user_attr(FINGERPRINT, job.fingerprint)
    value = earlier_value(job.config, job.fingerprint)
    if value is not None:
        return trials.tell(trial, value)
    typed = own_overrides(job.overrides)
    context = job_context().variables(trial=str(job.number), overrides=" ".join(typed))
    for _ in range(1 + retries(job.config)):
        cfg = OmegaConf.create({**job.config, "run_name": job.name})
        with env_override(context):
            outcome = carry_out(cfg, job.choices, typed, promise)
        if outcome.state != "failed":
            break
    if outcome.state == "failed":
        trials.fail(trial, "")  # the run in MLflow says why
        return False
    if outcome.state == "pruned":
        trials.study.tell(trial, state=TrialState.PRUNED)
        return True
    return trials.tell(trial, outcome.objective)


def _composed(trial: Trial) -> PlannedJob:
    """Raises a ConfigError if the parameters of the trial make a wrong configuration."""
    loader = GlobalHydra.instance().config_loader()
    master = cast(DictConfig, HydraConfig.instance().cfg)
    overrides = (*as_typed(master.hydra.overrides.task), *as_overrides(trial.params))
    job = compose(loader, master, overrides)
    return replace(job, number=trial.number, differing=shown(trial.params))
