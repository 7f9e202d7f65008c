"""The names of further evaluation sets, such as `june` in `data.eval_files={june: june.jsonl}`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Groups of metrics and of parameters, and folders of artifacts.
TAKEN = (
    *("eval", "final", "test", "train", "validation", "baseline", "lora", "sweep", "folds", "data"),
    *("adapter", "model"),
)
# What looks like an escaped character in a key of MLflow (metrics/names.py) would be escaped once more there.
NAME = re.compile(r"(?!.*_x[0-9A-F]{4})\w[\w-]*")


def wrong_name(name: object) -> str | None:
    """Why an evaluation set cannot have this name; None if it can."""
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        return "is no name of an evaluation set; expected a text of letters, digits, _ and -, such as june"
    # Some file systems and databases take `Test` for `test`.
    taken = f"cannot name an evaluation set, because it names something else ({', '.join(TAKEN)})"
    return taken if name.lower() in TAKEN else None


def further_sets(data: Mapping[str, Any]) -> Mapping[Any, Any]:
    """What `data.eval_files` or `data.eval_splits` says; other data components may have no such key."""
    given = data.get("eval_splits", data.get("eval_files"))
    return given if isinstance(given, Mapping) else {}


def problems(data: Mapping[str, Any]) -> Iterator[str]:
    """A message for each name in the group `data` that is none."""
    key = "eval_splits" if "eval_splits" in data else "eval_files"
    for name in further_sets(data):
        if why := wrong_name(name):
            yield f"data.{key}: {name!r} {why}"
