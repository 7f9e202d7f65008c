"""A configuration as MLflow's flat parameters."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Param

from expkit.names import key_of, param_key
from expkit.secrets import hidden

PARAM_LIMIT = 6000  # characters of a value, MLflow's own limit; run.yaml has all of it
MARK = "… (cut)"


def params_of(config: Mapping[str, Any]) -> list[Param]:
    """One for each leaf of a configuration."""
    return [Param(param_key(path), _cut(value)) for path, value in leaves(config)]


def params_of_command(overrides: Sequence[str]) -> list[Param]:
    """What was typed, such as `optimizer=adamw,sgd`: of a sweep, what its jobs may differ in."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    typed = {key_of(key): value for key, _, value in pairs}
    return [Param(key, _cut(value)) for key, value in typed.items()]


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
