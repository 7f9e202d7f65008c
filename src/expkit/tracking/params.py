"""Turn a configuration into MLflow's flat parameters, and back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from expkit.config.naming import short_target
from expkit.config.schema import Root
from expkit.config.trust import typed_value
from expkit.metrics.names import key_of, param_key
from expkit.terminal.secrets import redacted

PARAM_LIMIT = 6000  # characters of a value, which is MLflow's own limit; run.yaml has all of it
CUT_MARK = "… (cut)"
TYPED = "Typed."  # the UI sorts capitals before other letters
NOT_LOGGED = ("run_name", "resume", "dry_run", "tracking")  # these do not change the result
# Any other parameter without a dot is the choice of a group, such as `optimizer`.
ROOT_KEYS = {field.name for field in fields(Root)}


def params_of(config: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, str]:
    """Return the parameters of a run: first the overrides, then the other leaves of the configuration.

    An override that chooses from a group, such as `optimizer=adamw`, is no leaf. At the end all overrides
    follow once more under keys that begin with `Typed.`, which the UI shows first when it compares runs.
    """
    overrides = [o for o in overrides if typed_value(o)[0].partition(".")[0] not in NOT_LOGGED]
    typed = params_of_command(overrides)
    values = {}
    for path, value in leaves({k: v for k, v in config.items() if k not in NOT_LOGGED}):
        is_short = path[-1] == "_target_" and param_key(path) not in typed
        values[param_key(path)] = _cut(short_target(str(value)) if is_short else value)
    first = {key: text for key, text in typed.items() if key in values or "." not in key}
    listed = params_of_command([TYPED + override.lstrip("+~") for override in overrides])
    return {**first, **values, **listed}


def params_of_command(overrides: Sequence[str]) -> dict[str, str]:
    """Return overrides as parameters; those of a sweep, such as `optimizer=adamw,sgd`, say what varies."""
    return {key_of(key): _cut(value) for key, value in map(typed_value, overrides)}


def config_of(params: Mapping[str, str]) -> dict[str, str]:
    """Return the configuration among the parameters of a run.

    Earlier versions logged the full names of classes, which are shortened here as they are today.
    """
    return {
        key: short_target(value) if key.endswith("._target_") else value
        for key, value in params.items()
        if key in ROOT_KEYS or ("." in key and not key.startswith(TYPED))
    }


def leaves(node: Any, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], Any]]:
    """Yield each leaf of nested mappings as (keys that lead to it, value); a list is a leaf."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, node


def _cut(value: Any) -> str:
    text = redacted(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= PARAM_LIMIT else text[: PARAM_LIMIT - len(CUT_MARK)] + CUT_MARK
