"""The jobs of a sweep, composed and checked before the first one starts."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from expkit.config.checks import check
from expkit.config.fingerprint import fingerprint
from expkit.config.messages import explain
from expkit.display import say
from expkit.errors import ConfigError

NAME_LIMIT = 100  # characters

Composed = tuple[tuple[str, ...], dict[str, Any]]  # overrides, and what they give


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep.

    `differing` holds the overrides that are not the same in all jobs; together they make its name.
    """

    number: int
    overrides: tuple[str, ...]
    differing: dict[str, str]
    config: dict[str, Any]
    fingerprint: str

    @property
    def name(self) -> str:
        """What it differs in; its number where it differs in nothing."""
        parts = [f"{re.split('[./]', key)[-1]}={value}" for key, value in self.differing.items()]
        text = " ".join(parts) or f"job {self.number}"
        given = self.config["run_name"]
        text = f"{given} {text}" if given else text
        if len(text) <= NAME_LIMIT:
            return text
        number = f"… #{self.number}"  # what was cut may have been all that tells it apart
        return text[: NAME_LIMIT - len(number)] + number

    def launched_as(self) -> list[str]:
        """The overrides to run it with."""
        return [*self.overrides, f"run_name={quoted(self.name)}"]


def plan(
    loader: ConfigLoader, master: DictConfig, combinations: Sequence[Sequence[str]]
) -> list[Job]:
    """Compose and check every job.

    Raises:
        ConfigError: with the problems of all jobs, each once.
    """
    problems: dict[str, None] = {}
    composed: list[Composed] = []
    for overrides in combinations:
        try:
            composed.append((tuple(overrides), compose(loader, master, overrides)))
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if len({str(config["tracking"]) for _, config in composed}) > 1:
        one_store = "tracking: has to be the same for all jobs, which are one sweep in one store"
        problems[one_store] = None
    if problems:
        raise ConfigError(list(problems))
    distinct = _without_repetitions(composed)
    values = [_values(overrides) for overrides, _ in distinct.values()]
    keys = [k for k in values[0] if len({v.get(k) for v in values}) > 1] if values else []
    return [
        Job(number, overrides, {key: values[number][key] for key in keys}, config, identity)
        for number, (identity, (overrides, config)) in enumerate(distinct.items())
    ]


def compose(loader: ConfigLoader, master: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of one job, checked."""
    before = HydraConfig.instance().cfg
    try:
        cfg = loader.load_sweep_config(master, list(overrides))
        HydraConfig.instance().set_config(cfg)
        _require_same_sweep(master.hydra.runtime.choices, cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        check(cfg, list(overrides))
    except HydraException as error:
        raise ConfigError(explain(error, overrides)) from error
    finally:
        HydraConfig.instance().cfg = before
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def _require_same_sweep(of_sweep: Mapping[str, str], of_job: Mapping[str, str]) -> None:
    """Raise a ConfigError for a job whose recipe chooses what all jobs have in common."""
    for group in ("hydra/launcher", "hydra/sweeper"):
        if of_job.get(group) != of_sweep.get(group):
            chosen = f"{group}={of_job.get(group)}"
            raise ConfigError(
                f"{chosen}: chosen by a recipe that is one of several; type {chosen} for all"
            )


def _without_repetitions(composed: Sequence[Composed]) -> dict[str, Composed]:
    """By fingerprint, the first of those that would have the same result."""
    first: dict[str, Composed] = {}
    for overrides, config in composed:
        first.setdefault(fingerprint(config), (overrides, config))
    if len(first) < len(composed):
        say(f"{len(composed) - len(first)} jobs are the same as others and run once")
    return first


def fingerprint_of(jobs: Sequence[Job]) -> str:
    """Of a sweep: the same for the same jobs, in whatever order."""
    text = "\n".join(sorted(job.fingerprint for job in jobs))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def quoted(text: str) -> str:
    """As a value of an override."""
    return QuotedString(text, Quote.single).with_quotes()


def _values(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.partition("=") for override in overrides)
    return {key.lstrip("+~"): value for key, _, value in pairs}
