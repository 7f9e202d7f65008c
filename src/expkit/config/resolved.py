"""The composed configuration as plain values, to be logged and to be run again."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from expkit.config.project import conf_dir
from expkit.terminal.secrets import without_password


def plain(cfg: DictConfig) -> dict[str, Any]:
    """All values, without the password that the address of the store may hold."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    if cfg.tracking.uri:
        config["tracking"]["uri"] = without_password(cfg.tracking.uri)
    return {str(key): value for key, value in config.items()}


def runnable(cfg: DictConfig) -> dict[str, Any]:
    """All values with Hydra's own settings: a config file that runs the experiment again."""
    settings = OmegaConf.load(conf_dir() / "config.yaml")
    defaults: Any = OmegaConf.to_container(settings.defaults)
    ours = [
        d for d in defaults if d == "sweeper" or str(next(iter(d))).startswith("override hydra/")
    ]
    return {
        "defaults": ["_self_", *ours],
        **plain(cfg),
        "resume": "never",
        "hydra": OmegaConf.to_container(settings.hydra, resolve=False),
    }
