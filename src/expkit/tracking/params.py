"""A configuration as MLflow's flat parameters."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from expkit.config.naming import short_target
from expkit.config.schema import Root
from expkit.config.trust import typed_value
from expkit.metrics.names import key_of, param_key
from expkit.terminal.secrets import hidden

PARAM_LIMIT = 6000  # characters of a value, MLflow's own limit; run.yaml has all of it
MARK = "… (cut)"
TYPED = "Typed."  # capitals come before other letters where the UI sorts
NOT_LOGGED = ("run_name", "resume", "dry_run", "tracking")  # they say nothing about the result
ROOT_KEYS = {field.name for field in fields(Root)}  # others without a dot name options of groups


def params_of(config: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, str]:
    """What was typed comes first, then the other leaves of a configuration.

    What was typed for a group, such as `optimizer=adamw`, is no leaf. At the end all that was typed
    stands once more by keys which the UI, comparing runs, takes before all others.
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
    """What was typed, such as `optimizer=adamw,sgd`: of a sweep, what its jobs may differ in."""
    return {key_of(key): _cut(value) for key, value in map(typed_value, overrides)}


def config_of(params: Mapping[str, str]) -> dict[str, str]:
    """The configuration among the parameters of a run, however its values came to be there.

    Runs of earlier versions hold classes by their full names; all get the names of today.
    """
    return {
        key: short_target(value) if key.endswith("._target_") else value
        for key, value in params.items()
        if key in ROOT_KEYS or ("." in key and not key.startswith(TYPED))
    }


def leaves(node: Any, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], Any]]:
    """(keys that lead to it, value) for each leaf; lists stay whole."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, node


def _cut(value: Any) -> str:
    text = hidden(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= PARAM_LIMIT else text[: PARAM_LIMIT - len(MARK)] + MARK
