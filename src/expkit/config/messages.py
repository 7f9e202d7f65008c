"""Turn what Hydra raises while it composes into one message: given, allowed, nearest match."""

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    GrammarParseError,
    InterpolationResolutionError,
    KeyValidationError,
    OmegaConfBaseException,
)

from expkit.terminal.errors import nearest

RECIPE = "the first line of a recipe has to be '# @package _global_', and then it sets something"


def explain(error: Exception, overrides: Sequence[str] = ()) -> str:
    """One message for an error of composition.

    Args:
        overrides: what was typed, shown where the error itself does not say what it is about.
    """
    if any(text.startswith(("--config-path", "-cp")) for text in overrides):
        return (
            "--config-path: replaces the config groups of expkit, without which nothing can be "
            "composed; --config-dir FOLDER adds yours to them"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    cause = error.__cause__ if isinstance(error, HydraException) else error
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        return _unknown_key(cause)
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if found := re.search(r"^In '(experiment/.*?)': Could not override '\w+@experiment", text):
        return f"conf/{found[1]}.yaml: {RECIPE}"
    keys = filter(None, map(_key, overrides))
    is_named = any(f"'{key}'" in text for key in keys) or any(o in text for o in overrides if o)
    if isinstance(error, HydraException) and (is_named or not overrides):
        return text
    return f"{' '.join(overrides)}: {text}"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _unreadable(error: OverrideParseException) -> str:
    override = error.override or "''"
    reason = (line for line in str(error).splitlines() if not line.startswith(("Error", "See")))
    detail = next(reason, "")
    key, _, value = override.partition("=")
    if value and re.fullmatch(r"[+~]*[\w.@/$-]+", key):
        quoted = f"{key}={QuotedString(value, Quote.single).with_quotes()}"
        return (
            f"{override}: Hydra cannot read this value without quotes; if it is a text, write "
            f"{shlex.quote(quoted)}"
        )
    return f"{override}: not an override; write key=value ({detail})"


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return f"--config-name {option}: no such config"
    return f"{group}={option}: no such option; {nearest(option, error.options or ())}"


def _unknown_key(cause: OmegaConfBaseException) -> str:
    assert isinstance(cause.parent_node, DictConfig)
    siblings = [str(k) for k in cause.parent_node if k != "hydra" and not str(k).startswith("_")]
    key = str(cause.full_key or cause.key)
    if isinstance(cause, KeyValidationError):  # of `{null: 2}`
        return f"{key}: a name in it is null, which cannot be typed; write 'null' with quotes in a file"
    if cause.key in siblings or isinstance(cause, InterpolationResolutionError | GrammarParseError):
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
