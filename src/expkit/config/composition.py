"""Refuse what a config file tells Hydra to do, before Hydra does it.

Hydra makes callbacks, launchers and log handlers out of its own section of the configuration, and
sets variables of the environment, before the first line of expkit runs. A file that was given to us,
such as the `run.yaml` of a run, must not decide about these; the command line may.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from os.path import relpath
from pathlib import Path
from threading import Event
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.config import texts
from expkit.config.checks import check
from expkit.config.messages import explain
from expkit.config.project import conf_dir, output_dir, project_root
from expkit.config.targets import targets_in
from expkit.config.trust import REMOTE_CODE, typed_value
from expkit.terminal.errors import ConfigError, UserError

PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")  # Hydra makes no others
SECTIONS = ("callbacks", "launcher", "sweeper", "hydra_logging", "job_logging")
SHELL = ("setup", "additional_parameters")  # of submitit: lines and options of a shell script
ONLY_TYPED = ("_target_", "trusted_modules", REMOTE_CODE)
LOG_CLASSES = (
    *("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter"),
    "logging.handlers.RotatingFileHandler",
    "logging.handlers.TimedRotatingFileHandler",
    "rich.logging.RichHandler",
)
LOG_FACTORIES = ("colorlog.ColoredFormatter",)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")

# Registered at import, because the jobs of a sweep may be resolved in other processes.
OmegaConf.register_new_resolver("project_root", lambda: str(project_root()), replace=True)
# Relative to the working directory, so that a run can be reproduced where the project lies elsewhere.
OmegaConf.register_new_resolver("in_project", lambda path: relpath(project_root() / path))

# Set when Hydra has composed and the work begins: from then on an exception is no bad input.
work_has_begun = Event()


@cache
def watch_composition() -> None:
    """Look at every configuration that Hydra composes in this process from now on."""
    compose = ConfigLoaderImpl.load_configuration

    def watched(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        **options: Any,
    ) -> DictConfig:
        made = partial(compose, self, config_name, run_mode=run_mode, **options)
        is_sweep = run_mode == RunMode.MULTIRUN
        cfg = _of_sweep(made, overrides) if is_sweep else made(overrides=overrides)
        texts.restore(cfg, overrides)
        if cfg.hydra.mode is None and makes_folds(cfg):
            OmegaConf.update(cfg, "hydra.mode", RunMode.MULTIRUN)
        found = [f"{p}; in a config file it is refused" for p in problems(cfg, overrides, run_mode)]
        found += (p for p in texts.problems(cfg) if p.startswith("hydra."))
        if found:
            raise ConfigError(found)
        return cfg

    ConfigLoaderImpl.load_configuration = watched  # type: ignore[method-assign,assignment]


def _of_sweep(made: Callable[..., DictConfig], overrides: list[str]) -> DictConfig:
    """The configuration of a sweep, which need not have each key that was typed: its jobs may choose a group that has it.

    What no job has is refused when the jobs are composed.
    """
    try:
        return made(overrides=overrides)
    except ConfigCompositionException as error:
        key = str(getattr(error.__cause__, "full_key", None))
        known = [text for text in overrides if typed_value(text)[0] != key]
        if len(known) == len(overrides) or key.startswith("hydra."):
            raise
    cfg = _of_sweep(made, known)
    cfg.hydra.overrides.task = [o for o in overrides if o not in cfg.hydra.overrides.hydra]
    return cfg


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run, composed and checked as `python -m expkit` does. Raises ConfigError."""
    watch_composition()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("config", list(overrides))
    except UserError:
        raise
    except Exception as error:  # Hydra raises exceptions of many kinds
        raise ConfigError([explain(error, overrides)]) from error
    check(cfg, list(overrides))
    return cfg


def makes_folds(cfg: Mapping[str, Any]) -> bool:
    """Whether a configuration stands for one run for each of its folds; a dry run takes the first one."""
    data = cfg.get("data") or {}
    return bool(data.get("folds")) and data.get("fold") is None and not cfg.get("dry_run")


def problems(cfg: DictConfig, overrides: Sequence[str], mode: RunMode) -> Iterator[str]:
    """A message for each thing that the Hydra section would do and nobody typed on the command line."""
    typed = {typed_value(override)[0] for override in overrides}
    noted = cfg.hydra.overrides
    if len(noted.task) + len(noted.hydra) != len(overrides):
        yield "hydra.overrides: says what was typed, but was not typed"
        return
    with _settled(cfg) as cfg:
        for section in SECTIONS:
            key = f"hydra.{section}"
            try:
                node = OmegaConf.select(cfg, key)
                plain = OmegaConf.to_container(node, resolve=True) if node is not None else None
                found = _of_logging if section.endswith("logging") else _of_plugin
                yield from (p for p in found(key, plain, typed))
            except OmegaConfBaseException as error:
                yield f"{key}: cannot be looked at: {str(error).splitlines()[0]}"
        yield from _of_environment(cfg, typed)
        yield from _of_folders(cfg, mode, typed)


def _is_typed(key: str, typed: set[str]) -> bool:
    """Whether a key, or a mapping around it, was typed. A group that was typed is only the name of a file."""
    return any(key == name or key.startswith(f"{name}.") for name in typed)


@contextmanager
def _settled(cfg: DictConfig) -> Iterator[DictConfig]:
    """A copy in which everything can be resolved: Hydra knows some values only later."""
    settled = deepcopy(cfg)
    OmegaConf.set_readonly(settled, False)
    later = {"runtime.output_dir": str(output_dir()), "job.num": 0, "job.id": "0"}
    for key, value in later.items():
        if OmegaConf.select(settled.hydra, key) is None:
            OmegaConf.update(settled.hydra, key, value)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = settled  # type: ignore[assignment]
    try:
        yield settled
    finally:
        HydraConfig.instance().cfg = before


def _of_plugin(section: str, plain: Any, typed: set[str]) -> Iterator[str]:
    for path, node in targets_in(plain, section):
        target, key = node["_target_"], f"{path}._target_"
        is_plugin = path == section != "hydra.callbacks" and str(target).startswith(PLUGINS)
        if not is_plugin and not _is_typed(key, typed):
            yield f"{key}={target}: would be made by Hydra"
    if not isinstance(plain, dict):
        return
    for name in SHELL if section == "hydra.launcher" else ():
        if plain.get(name) and not _is_typed(f"{section}.{name}", typed):
            yield f"{section}.{name}={plain[name]}: would be run by a shell"
    if section == "hydra.sweeper" and isinstance(plain.get("params"), dict):
        for name in plain["params"]:
            last = typed_value(str(name))[0].rpartition(".")[2]
            if last in ONLY_TYPED and not _is_typed(f"{section}.params.{name}", typed):
                yield f"{section}.params.{name}: would count as typed"


def _of_logging(section: str, plain: Any, typed: set[str]) -> Iterator[str]:
    for key, value in texts.flat(section, plain):
        if _is_typed(key, typed):
            continue
        name = key.rpartition(".")[2]
        if (
            (".()." in key or (name == "()" and value not in LOG_FACTORIES))
            or (name == "class" and value not in LOG_CLASSES)
            or (isinstance(value, str) and value.startswith("ext://") and value not in STREAMS)
        ):
            yield f"{key}={value}: would be made by Hydra"
        elif name == "filename" and not _is_inside(str(value)):
            yield f"{key}={value}: lies outside of {output_dir()}"


def _of_environment(cfg: DictConfig, typed: set[str]) -> Iterator[str]:
    """Environment variables decide which programs are started and what they do."""
    job = cfg.hydra.job
    keys = [f"hydra.job.{o}.{name}" for o in ("env_set", "env_copy") for name in job[o] or ()]
    yield from (f"{key}: would change the environment" for key in keys if not _is_typed(key, typed))


def _of_folders(cfg: DictConfig, mode: RunMode, typed: set[str]) -> Iterator[str]:
    hydra = cfg.hydra
    if mode == RunMode.MULTIRUN:
        folders = {"hydra.sweep.dir": str(hydra.sweep.dir)}
        folders["hydra.sweep.subdir"] = str(Path(hydra.sweep.dir, str(hydra.sweep.subdir)))
        if isinstance(hydra.launcher, DictConfig) and "submitit_folder" in hydra.launcher:
            folders["hydra.launcher.submitit_folder"] = str(hydra.launcher.submitit_folder)
    else:
        folders = {"hydra.run.dir": str(hydra.run.dir)}
        if hydra.output_subdir is not None:
            folders["hydra.output_subdir"] = str(Path(hydra.run.dir, hydra.output_subdir))
    for key, folder in folders.items():
        if not _is_inside(folder) and not _is_typed(key, typed):
            yield f"{key}={folder}: lies outside of {output_dir()}"


def _is_inside(path: str) -> bool:
    return Path(path).resolve().is_relative_to(output_dir().resolve())
