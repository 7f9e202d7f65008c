"""Turn what Hydra raises while it composes into one message: given, allowed, nearest match."""

from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from expkit.errors import nearest


def explain(error: Exception, overrides: Sequence[str] = ()) -> str:
    """One message for an error of composition.

    Args:
        overrides: what was typed, shown where the error itself does not say what it is about.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()
        detail = next((line for line in reason if not line.startswith(("Error", "See"))), "")
        return f"{error.override}: not an override; write key=value ({detail})"
    cause = error.__cause__ if isinstance(error, HydraException) else error
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        return _unknown_key(cause)
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text if isinstance(error, HydraException) else f"{' '.join(overrides)}: {text}"


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return f"--config-name {option}: no such config"
    return f"{group}={option}: no such option; {nearest(option, error.options or ())}"


def _unknown_key(cause: OmegaConfBaseException) -> str:
    assert isinstance(cause.parent_node, DictConfig)
    siblings = [str(k) for k in cause.parent_node if k != "hydra" and not str(k).startswith("_")]
    key = str(cause.full_key or cause.key)
    if cause.key in siblings:
        return f"{key}: {str(cause).splitlines()[0]}"
    message = f"{key}: no such key; {nearest(cause.key, siblings)}"
    elsewhere = _same_name(cause.parent_node._get_root(), str(cause.key))
    return f"{message}; there is also {', '.join(elsewhere)}" if elsewhere else message


def _same_name(root: object, name: str) -> list[str]:
    """Full keys elsewhere in the configuration that end in `name`."""
    if not isinstance(root, DictConfig):
        return []
    groups = {str(key): root._get_node(key) for key in root if key != "hydra"}
    return [
        f"{g}.{name}" for g, node in groups.items() if isinstance(node, DictConfig) and name in node
    ]
