"""A worker of a search: takes a trial, runs it, tells how it ended, and takes the next.

So one that comes free is busy again at once, whatever the others do.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from expkit.config.texts import as_typed
from expkit.processes.context import job_context
from expkit.processes.exits import complain
from expkit.processes.outcome import Outcome
from expkit.sweeps.job import carry_out, own_overrides
from expkit.sweeps.plan import Job, compose
from expkit.sweeps.search.space import as_overrides, shown
from expkit.sweeps.search.trials import FINGERPRINT, NAME, Promise, Settings, Trials
from expkit.terminal.errors import ConfigError, reason
from expkit.tracking.sweep import earlier_value, is_stopped, stop_sweep


@dataclass(frozen=True)
class Order:
    """What a worker is to do: so many trials of that study at most, each tried so often."""

    settings: Settings
    most: int
    attempts: int

    def to_text(self) -> str:
        """For the environment of the worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Order":
        """The inverse of `to_text`."""
        fields = json.loads(text)
        return cls(**{**fields, "settings": Settings(**fields["settings"])})


def work(cfg: DictConfig, order: str) -> int:
    """Run trials until the study has enough of them; returns how many.

    Args:
        cfg: what all trials have in common.
        order: an Order as text.
    """
    todo = Order.from_text(order)
    trials = Trials(todo.settings)
    stops = cfg.sweep.on_failure == "stop"
    done = 0
    while done < todo.most and not (stops and is_stopped(cfg.tracking)):
        trial = trials.claim()
        if trial is None:
            break
        try:
            succeeded = _ran(trial, trials, todo)
        except BaseException:  # such as Ctrl-C; a process that is killed has no time for it
            trials.give_back(trial)
            raise
        if stops and not succeeded:
            stop_sweep(cfg.tracking)
        done += 1
    return done


def _ran(trial: Trial, trials: Trials, order: Order) -> bool:
    """Run a trial and tell the study; whether it did not fail."""
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
    for _ in range(order.attempts):
        outcome = _carried_out(trial, job, order)
        if outcome.state != "failed":
            break
    if outcome.state == "failed":
        trials.fail(trial, "")  # the run in MLflow says why
        return False
    if outcome.state == "pruned":
        trials.study.tell(trial, state=TrialState.PRUNED)
        return True
    return trials.tell(trial, outcome.objective)


def _composed(trial: Trial) -> Job:
    """Raises a ConfigError if there is no such configuration."""
    loader = GlobalHydra.instance().config_loader()
    master = cast(DictConfig, HydraConfig.instance().cfg)
    overrides = (*as_typed(master.hydra.overrides.task), *as_overrides(trial.params))
    job = compose(loader, master, overrides)
    return replace(job, number=trial.number, differing=shown(trial.params))


def _carried_out(trial: Trial, job: Job, order: Order) -> Outcome:
    cfg = OmegaConf.create({**job.config, "run_name": job.name})
    typed, promise = own_overrides(job.overrides), Promise(order.settings, trial._trial_id)
    told = job_context().variables(trial=str(job.number), overrides=" ".join(typed))
    with env_override(told):
        return carry_out(cfg, job.choices, typed, promise)
