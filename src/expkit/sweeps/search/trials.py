"""A stored study, which all workers of a search share.

A process may die at any moment, so each trial names the process that runs it, and a trial whose
process is dead goes back into the queue. Optuna's own heartbeats do not serve here: they need a
database and `Study.optimize`, and tell a dead process from a slow one only by waiting.
"""

import socket
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import cast

import optuna
from filelock import FileLock
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from expkit.config.project import output_dir
from expkit.sweeps.search.space import Space
from expkit.terminal.errors import ConfigError, UserError, reason
from expkit.tracking.store import HOST, is_alive, kept_address, owner_tags

optuna.logging.set_verbosity(optuna.logging.WARNING)
# A trial that runs again reports the same steps again.
warnings.filterwarnings("ignore", "The reported value is ignored")

# Attributes of a study and of its trials.
SPACE, SEARCH = "space", "search"
SUSPECT = "suspect"  # whether a trial was running when a process died, and may be the reason
NAME, FINGERPRINT, ERROR = "name", "fingerprint", "error"
PERCENT = 100  # the pruner counts a trial's progress in percent


@dataclass(frozen=True)
class Settings:
    """The options of hydra/sweeper=optuna, with a `study_name` that is never null."""

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

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = FileLock(_folder() / f"{settings.study_name}.lock")
        self._storage = open_storage(settings)
        self.study = optuna.load_study(
            study_name=settings.study_name, storage=self._storage, pruner=make_pruner(settings)
        )
        attributes = self.study.user_attrs[SPACE]
        self._space: Space = {key: json_to_distribution(text) for key, text in attributes.items()}

    def claim(self) -> Trial | None:
        """Return the next trial for this process to run, or None if `n_trials` have begun.

        The trial's number seeds the sampler. With one worker, a search that was cut off therefore
        draws the same parameters as one that was not.
        """
        with self._lock:
            trials = self.study.get_trials(deepcopy=False)
            waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
            if len(trials) - len(waiting) >= self.settings.n_trials:
                return None
            number = min(waiting, default=len(trials))
            self.study.sampler = make_sampler(self.settings, number)
            trial = self.study.ask(self._space)
            for key, value in owner_tags().items():
                trial.set_user_attr(key, value)
            return trial

    def tell(self, trial: Trial, value: float) -> bool:
        """Finish a trial; it fails, and False is returned, if its objective is not finite."""
        if not isfinite(value):
            self.fail(trial, f"the objective is {value}")
            return False
        self.study.tell(trial, value)
        return True

    def fail(self, trial: Trial, why: str) -> None:
        """Finish a trial as failed."""
        trial.set_user_attr(ERROR, why)
        self.study.tell(trial, state=TrialState.FAIL)

    def give_back(self, trial: Trial, *, suspect: bool = False) -> None:
        """Put a trial that was cut off back into the queue, where it is the next to run.

        Args:
            suspect: this trial may be why its process died.
        """
        trial.set_user_attr(SUSPECT, suspect)
        self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def begun(self) -> list[FrozenTrial]:
        """Return the trials that run or have ended, but not those that wait to run again."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.WAITING]

    def ended(self) -> int:
        """Count the trials that have ended, however they did."""
        return sum(trial.state.is_finished() for trial in self.begun())

    def failed(self) -> int:
        """Count the trials that have failed."""
        return sum(trial.state == TrialState.FAIL for trial in self.begun())

    def suspects(self) -> int:
        """Count the waiting trials that may have taken their process down."""
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return sum(trial.user_attrs.get(SUSPECT, False) for trial in waiting)

    def started_here(self, *, alive: bool) -> list[FrozenTrial]:
        """Return the running trials of this machine whose processes live, or those whose do not.

        Whether a process of another machine lives cannot be known, so its trial just goes on.
        """
        here = socket.gethostname()
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if trial.user_attrs.get(HOST, here) == here and is_alive(trial.user_attrs) == alive
        ]

    def end_dead(self, end: Callable[[Trial], None]) -> int:
        """Call `end` with each trial whose process is dead, and return how many there are."""
        with self._lock:  # a trial names its process only at the end of `claim`
            dead = self.started_here(alive=False)
            for trial in dead:
                end(Trial(self.study, trial._trial_id))
            return len(dead)


@dataclass(frozen=True)
class Promise:
    """Says whether a trial is worth continuing. It can be sent to another process."""

    settings: Settings
    trial_id: int

    def __call__(self, share: float, value: float) -> bool:
        """Compare `value`, the objective after that share of the steps, with those of other trials.

        The share stands for the step because trials may differ in their number of steps.
        """
        if not isfinite(value):
            return True  # the trial fails at its end unless it recovers
        trial = Trial(Trials(self.settings).study, self.trial_id)
        trial.report(value, max(round(share * PERCENT), 1))
        return not trial.should_prune()


def make_study(
    settings: Settings, *, direction: str, space: Space, search: str, goes_on: bool
) -> Trials:
    """Create the study with that name, or open it if it exists.

    Args:
        search: the fingerprint of the search.
        goes_on: whether the study may exist already.

    Raises:
        ConfigError: the study exists, and belongs to another search or was not to be continued.
        UserError: the storage cannot be opened.
    """
    storage = open_storage(settings)
    name = settings.study_name
    with FileLock(_folder() / f"{name}.lock"):
        if name in optuna.get_all_study_names(storage) and not goes_on:
            raise ConfigError(
                f"hydra.sweeper.study_name={name}: this study exists already; resume=auto goes on with it"
            )
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction=StudyDirection[direction.upper()],
            load_if_exists=True,
        )
        if study.user_attrs.setdefault(SEARCH, search) != search:
            raise ConfigError(
                f"hydra.sweeper.study_name={name}: this study belongs to another search or configuration; "
                "choose another name"
            )
        study.set_user_attr(SEARCH, search)
        study.set_user_attr(SPACE, {key: distribution_to_json(d) for key, d in space.items()})
    return Trials(settings)


def open_storage(settings: Settings) -> BaseStorage:
    """Open the database at the given address, or else a journal under outputs/."""
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


def make_sampler(settings: Settings, number: int) -> BaseSampler:
    """Return what draws the parameters of the trial with this number."""
    seed = (settings.seed * 1_000_003 + number) % 2**32
    if settings.sampler == "random":
        return RandomSampler(seed)
    return TPESampler(seed=seed, n_startup_trials=settings.startup_trials)


def make_pruner(settings: Settings) -> BasePruner:
    """Return what decides which trials are not worth continuing."""
    if settings.pruner == "median":
        return MedianPruner(n_startup_trials=settings.startup_trials)
    if settings.pruner == "hyperband":
        return HyperbandPruner(max_resource=PERCENT)
    return NopPruner()


def _folder() -> Path:
    folder = output_dir() / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
