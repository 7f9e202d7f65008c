"""The folder that a command was typed in; relative paths start there."""

from contextlib import chdir
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from expkit.config.checks import check
from expkit.config.project import require_outputs
from expkit.config.texts import as_typed

# data.path and model.path may also be names on the hub.
PATHS = (*(f"data.{s}_file" for s in ("train", "validation", "test")), "data.path", "model.path")


def where_typed() -> Path:
    """The folder that the command was typed in; on another machine it need not be there."""
    folder = Path(HydraConfig.get().runtime.cwd)
    return folder if folder.is_dir() else Path.cwd()


def check_where_typed(cfg: DictConfig) -> None:
    """Raise a ConfigError if `cfg` cannot be run. With `hydra.job.chdir` its paths become absolute."""
    typed_in = where_typed()
    with chdir(typed_in):
        check(cfg, as_typed(HydraConfig.get().overrides.task))
    require_outputs()
    for key in PATHS if typed_in != Path.cwd() else ():
        path = OmegaConf.select(cfg, key)
        if path and (typed_in / path).exists():
            OmegaConf.update(cfg, key, str(typed_in / path))
