"""A configuration as MLflow's flat parameters."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Param

from expkit.secrets import hidden

PARAM_LIMIT = 6000  # characters of a value, MLflow's own limit; run.yaml has all of it
MARK = "… (cut)"
NOT_IN_KEYS = re.compile(r"[^\w\-. /:]")  # MLflow refuses the rest


def params_of(config: Mapping[str, Any]) -> list[Param]:
    """One for each leaf of a configuration."""
    return [Param(key, _cut(value)) for key, value in flatten(config)]


def params_of_command(overrides: Sequence[str]) -> list[Param]:
    """What was typed, such as `optimizer=adamw,sgd`: of a sweep, what its jobs may differ in."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    typed = {NOT_IN_KEYS.sub("_", key): value for key, _, value in pairs}
    return [Param(key, _cut(value)) for key, value in typed.items()]


def flatten(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) for each leaf; lists stay whole."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _cut(value: Any) -> str:
    text = hidden(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= PARAM_LIMIT else text[: PARAM_LIMIT - len(MARK)] + MARK
