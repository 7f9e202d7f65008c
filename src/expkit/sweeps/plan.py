"""The jobs of a sweep, composed and checked before the first one starts."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from expkit.comparison.groups import FOLD
from expkit.config.checks import check
from expkit.config.composition import makes_folds
from expkit.config.fingerprint import fingerprint
from expkit.config.messages import explain
from expkit.config.naming import run_name
from expkit.config.trust import typed_value
from expkit.terminal.display import say
from expkit.terminal.errors import ConfigError

NAME_LIMIT = 100  # characters


@dataclass(frozen=True)
class PlannedJob:
    """A job of a sweep before it runs.

    Attributes:
        differing: the overrides that are not the same in all jobs; the job's name is made of them.
        choices: the option that was chosen in each config group.
        after: the fingerprint of the job that this one continues, see chains.py.
    """

    number: int
    overrides: tuple[str, ...]
    differing: dict[str, str]
    config: dict[str, Any]
    fingerprint: str
    choices: Mapping[str, str] = field(default_factory=dict)
    after: str = ""

    @property
    def name(self) -> str:
        """What the job differs in; the only job of a sweep is named as a single run would be."""
        text = " ".join(filter(None, [self.config["run_name"], named(self.differing)]))
        text = text or run_name(self.config, self.choices, self.overrides)
        if len(text) <= NAME_LIMIT:
            return text
        number = f"… #{self.number}"  # two long names may differ only in what is cut off
        return text[: NAME_LIMIT - len(number)] + number


def named(differing: Mapping[str, str]) -> str:
    """Return overrides in short, such as `lr=0.01 fold=2`."""
    return " ".join(f"{re.split('[./]', key)[-1]}={value}" for key, value in differing.items())


def plan(
    loader: ConfigLoader, master: DictConfig, combinations: Sequence[Sequence[str]]
) -> list[PlannedJob]:
    """Compose and check every job.

    Raises:
        ConfigError: a configuration is wrong; the error lists the problems of all jobs, each once.
    """
    problems: dict[str, None] = {}
    composed: list[PlannedJob] = []
    for overrides in combinations:
        try:
            composed += jobs_of(loader, master, overrides)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if len({str(job.config["tracking"]) for job in composed}) > 1:
        one_store = "tracking: has to be the same for all jobs of a sweep"
        problems[one_store] = None
    if problems:
        raise ConfigError(list(problems))
    jobs = _without_repetitions(composed)
    values = [dict(map(typed_value, job.overrides)) for job in jobs]
    keys = [k for k in values[0] if len({v.get(k) for v in values}) > 1] if values else []
    return [
        replace(job, number=number, differing={key: values[number][key] for key in keys})
        for number, job in enumerate(jobs)
    ]


def jobs_of(loader: ConfigLoader, master: DictConfig, overrides: Sequence[str]) -> list[PlannedJob]:
    """Compose and check the job of one combination of overrides, or one for each of its folds."""
    job = compose(loader, master, overrides)
    if not makes_folds(job.config):
        return [job]
    folds = range(1, job.config["data"]["folds"] + 1)
    return [compose(loader, master, [*overrides, f"{FOLD}={k}"]) for k in folds]


def compose(loader: ConfigLoader, master: DictConfig, overrides: Sequence[str]) -> PlannedJob:
    """Compose and check one job, without its number and without what differs from other jobs."""
    before = HydraConfig.instance().cfg
    try:
        cfg = loader.load_sweep_config(master, list(overrides))
        HydraConfig.instance().set_config(cfg)
        choices = dict(cfg.hydra.runtime.choices)
        _require_same_sweep(master.hydra.runtime.choices, choices)
        with open_dict(cfg):
            del cfg["hydra"]
        check(cfg, list(overrides))
    except HydraException as error:
        raise ConfigError(explain(error, overrides)) from error
    finally:
        HydraConfig.instance().cfg = before
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    return PlannedJob(0, tuple(overrides), {}, config, fingerprint(config), choices)


def _require_same_sweep(of_sweep: Mapping[str, str], of_job: Mapping[str, str]) -> None:
    """Raise a ConfigError if a job's recipe chooses its own launcher or sweeper."""
    for group in ("hydra/launcher", "hydra/sweeper"):
        if of_job.get(group) != of_sweep.get(group):
            chosen = f"{group}={of_job.get(group)}"
            raise ConfigError(
                f"{chosen}: only one of several recipes chooses it; type {chosen} for all jobs"
            )


def _without_repetitions(jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
    """Keep the first of the jobs that must have the same result."""
    first: dict[str, PlannedJob] = {}
    for job in jobs:
        first.setdefault(job.fingerprint, job)
    if len(first) < len(jobs):
        say(f"{len(jobs) - len(first)} jobs are the same as others and run once")
    return list(first.values())


def fingerprint_of(jobs: Sequence[PlannedJob], more: Sequence[str] = ()) -> str:
    """Return the fingerprint of jobs in any order, and of what else makes a sweep the same."""
    text = "\n".join([*sorted(job.fingerprint for job in jobs), *more])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def quoted(text: str) -> str:
    """Quote a text as the value of an override."""
    return QuotedString(text, Quote.single).with_quotes()
