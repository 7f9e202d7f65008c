"""A study on disk that all workers of a search share.

A process may die at any moment, so what is written must make sense without it: a trial carries the
name of the process that runs it, and counts when it has come to its end.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal, cast

import optuna
from filelock import FileLock
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import FrozenTrial, Trial, TrialState

from expkit.config.project import output_dir
from expkit.sweeps.search.space import Space
from expkit.terminal.errors import ConfigError, UserError, reason
from expkit.tracking.past import tag_of
from expkit.tracking.store import HOST, is_alive, kept_address, owner_tags

optuna.logging.set_verbosity(optuna.logging.WARNING)

# Attributes of a study and of its trials.
SPACE, SEARCH = "space", "search"
CUT_OFF = "cut off"  # on a trial that does not count: another one has its parameters
SUSPECT = "suspect"  # on a trial whose parameters were on the way when a process died
NAME, FINGERPRINT, ERROR = "name", "fingerprint", "error"
PERCENT = 100  # steps of a trial, as the pruner sees them

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Settings:
    """Those of hydra/sweeper=optuna; here `study_name` is a name."""

    study_name: str
    storage: str | None
    n_trials: int
    sampler: str
    pruner: str
    startup_trials: int
    seed: int


class Trials:
    """The trials of a stored study.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(self, settings: Settings, study: optuna.Study | None = None) -> None:
        self._settings = settings
        self._lock = FileLock(_folder() / f"{settings.study_name}.lock")
        self.study = study or optuna.load_study(
            study_name=settings.study_name,
            storage=open_storage(settings),
            pruner=make_pruner(settings),
        )
        attributes = self.study.user_attrs[SPACE]
        self._space: Space = {key: json_to_distribution(text) for key, text in attributes.items()}

    def claim(self) -> Trial | None:
        """The next trial, for this process to run; None if there are as many as there are to be.

        The sampler is seeded by the number of trials it has drawn. With one worker, a search that
        was cut off therefore draws what it would have drawn.
        """
        with self._lock:
            trials = self.all()
            if sum(_counts(trial) for trial in trials) >= self._settings.n_trials:
                return None
            drawn = sum("fixed_params" not in t.system_attrs and self._is_whole(t) for t in trials)
            self.study.sampler = make_sampler(self._settings, drawn)
            trial = self.study.ask(self._space)
            for key, value in owner_tags().items():
                trial.set_user_attr(key, value)
            return trial

    def tell(self, trial: Trial, value: float) -> bool:
        """A trial has come to its end; one whose objective is not a finite number has failed."""
        if not isfinite(value):
            self.fail(trial, f"the objective is {value}")
            return False
        self.study.tell(trial, value)
        return True

    def fail(self, trial: Trial, why: str) -> None:
        """A trial has failed."""
        trial.set_user_attr(ERROR, why)
        self.study.tell(trial, state=TrialState.FAIL)

    def all(self) -> list[FrozenTrial]:
        """Every trial, in whatever state."""
        return self.study.get_trials(deepcopy=False)

    def counted(self) -> list[FrozenTrial]:
        """Trials that have a place among the `n_trials`."""
        return [trial for trial in self.all() if _counts(trial)]

    def ended(self) -> int:
        """How many have come to their end."""
        return sum(trial.state.is_finished() for trial in self.counted())

    def failed(self) -> int:
        """How many have failed."""
        return sum(trial.state == TrialState.FAIL for trial in self.counted())

    def suspects(self) -> int:
        """How many wait to be run again that were on the way when a process died."""
        return sum(t.state == TrialState.WAITING and SUSPECT in t.user_attrs for t in self.all())

    def running(self) -> bool:
        """Whether a process of this machine is at work on one."""
        here = socket.gethostname()
        return any(_is_running(t) and tag_of(t.user_attrs, HOST) == here for t in self.all())

    def end_dead(self, end: Callable[[Trial], None]) -> int:
        """Call `end` with each trial whose process is dead; returns how many there are."""
        with self._lock:
            dead = [
                Trial(self.study, trial._trial_id)
                for trial in self.all()
                if trial.state == TrialState.RUNNING and not _is_running(trial)
            ]
            for trial in dead:
                end(trial)
            return len(dead)

    def give_back(self, trial: Trial, *, suspect: bool = False) -> None:
        """A trial was cut off: it does not count, and its parameters are the next to be run.

        Args:
            suspect: this trial may be why its process died.
        """
        trial.set_user_attr(CUT_OFF, True)
        self.study.tell(trial, state=TrialState.FAIL)
        if self._is_whole(trial):
            self.study.enqueue_trial(trial.params, user_attrs={SUSPECT: True} if suspect else None)

    def _is_whole(self, trial: Trial | FrozenTrial) -> bool:
        """Whether its process has lived long enough to draw all parameters."""
        return trial.params.keys() == self._space.keys()


@dataclass(frozen=True)
class Promise:
    """Whether a trial is worth going on with, by what its study has seen; can be sent to a process."""

    settings: Settings
    trial_id: int

    def __call__(self, share: float, value: float) -> bool:
        """`value` is the objective when that share of the steps is done.

        Trials are compared at the same share, as they may differ in their number of steps.
        """
        if not isfinite(value):
            return True  # it fails at its end, if it does not recover
        trial = Trial(Trials(self.settings).study, self.trial_id)
        trial.report(value, max(round(share * PERCENT), 1))
        return not trial.should_prune()


def make_study(
    settings: Settings, *, direction: Direction, space: Space, search: str, goes_on: bool
) -> Trials:
    """The study of that name, made if it is new.

    Args:
        direction: whether to `minimize` or to `maximize` the objective.
        search: fingerprint of what is searched.
        goes_on: whether it may have trials already.

    Raises:
        ConfigError: there is such a study, and it is another one or was not asked for.
        UserError: the storage cannot be opened.
    """
    storage = open_storage(settings)
    name = settings.study_name
    with FileLock(_folder() / f"{name}.lock"):
        if name in optuna.get_all_study_names(storage) and not goes_on:
            raise ConfigError(
                f"hydra.sweeper.study_name={name}: is there already; resume=auto goes on with it"
            )
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction=direction,
            pruner=make_pruner(settings),
            load_if_exists=True,
        )
        if study.user_attrs.setdefault(SEARCH, search) != search:
            raise ConfigError(
                f"hydra.sweeper.study_name={name}: is a study of another search or configuration; "
                "take another name"
            )
        study.set_user_attr(SEARCH, search)
        study.set_user_attr(SPACE, {key: distribution_to_json(d) for key, d in space.items()})
    return Trials(settings, study)


def open_storage(settings: Settings) -> BaseStorage | str:
    """A database by its address, or a journal under outputs/."""
    if settings.storage is None:
        file = str(_folder() / f"{settings.study_name}.journal")
        # The system frees this lock when a process dies; Optuna's own locks wait for 30 seconds.
        lock = cast(BaseJournalFileLock, FileLock(f"{file}.lock"))
        return JournalStorage(JournalFileBackend(file, lock))
    address = settings.storage
    if address.startswith("sqlite"):
        address = kept_address(address, "hydra.sweeper.storage")
    try:
        return optuna.storages.get_storage(address)
    except Exception as error:  # whatever a database or its driver raises
        raise UserError(
            f"hydra.sweeper.storage: cannot be opened: {reason(error)}; write an address such as "
            "sqlite:////path/to/study.db, or null for a file under outputs/"
        ) from error


def make_sampler(settings: Settings, drawn: int) -> BaseSampler:
    """Draws the parameters of the next trial, `drawn` trials having been drawn before."""
    seed = (settings.seed * 1_000_003 + drawn) % 2**32
    if settings.sampler == "random":
        return RandomSampler(seed)
    return TPESampler(seed=seed, n_startup_trials=settings.startup_trials)


def make_pruner(settings: Settings) -> BasePruner:
    """Decides which trials are not worth going on with."""
    if settings.pruner == "median":
        return MedianPruner(n_startup_trials=settings.startup_trials)
    if settings.pruner == "hyperband":
        return HyperbandPruner(max_resource=PERCENT)
    return NopPruner()


def _folder() -> Path:
    folder = output_dir() / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _counts(trial: FrozenTrial) -> bool:
    return trial.state != TrialState.WAITING and CUT_OFF not in trial.user_attrs


def _is_running(trial: FrozenTrial) -> bool:
    """Of other machines we cannot know, and let them go on."""
    if trial.state != TrialState.RUNNING:
        return False
    here = socket.gethostname()
    elsewhere = tag_of(trial.user_attrs, HOST, here) != here
    return elsewhere or is_alive(trial.user_attrs)
