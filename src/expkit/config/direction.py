"""Whether less or more of the objective is better; everything that compares scores asks here.

The class of a metric says it by an attribute `direction`: one word for all of its scores, a mapping from their
names to one of the words, or a static method that returns either for the settings of the metric. The key
`direction` of the configuration says it where no class does.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from expkit.config.targets import TargetError, attribute_of
from expkit.terminal.errors import ConfigError, reason

MINIMIZE, MAXIMIZE = "minimize", "maximize"
DIRECTIONS = (MINIMIZE, MAXIMIZE)


def direction_of(config: Mapping[str, Any]) -> str:
    """The direction of the objective: `minimize` or `maximize`.

    Args:
        config: `task`, `objective`, and perhaps `direction`, resolved.

    Raises:
        ConfigError: nobody says it, or the metric and the configuration contradict each other.
    """
    objective, given = config["objective"], config.get("direction")
    who, said = _said_by_metric(config["task"], objective.partition("/")[2])
    if said not in (None, *DIRECTIONS):
        raise ConfigError([f"{who}.direction={said!r}: allowed: {', '.join(DIRECTIONS)}"])
    if given and said and given != said:
        raise ConfigError(
            [f"direction={given}: {who} says {said} for {objective}; leave out direction (null)"]
        )
    if not given and not said:
        raise ConfigError(
            f"objective={objective!r}: nothing says whether less or more of it is better; add "
            f"direction=minimize or direction=maximize, or give {who} an attribute: "
            'direction = "minimize" or "maximize", or a mapping from its scores to these words'
        )
    return str(given or said)


def owner_of(task: Mapping[str, Any], score: str) -> Mapping[str, Any] | None:
    """The metric in `task.metrics` that gives a score: f1 itself gives f1_PER, one for each type."""
    owners = {n: node for n, node in known_scores(task) if f"{score}_".startswith(f"{n}_")}
    return owners[max(owners, key=len)] if owners else None


def known_scores(task: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The scores that are known before they are computed, each with its metric."""
    metrics = task.get("metrics")
    # A task of the user's own may take something else by that name.
    for key, node in metrics.items() if isinstance(metrics, Mapping) else ():
        declared = _declared(node)
        names = node.get("names", declared if isinstance(declared, Mapping) else [key])
        yield from ((str(name), node) for name in names)


def _said_by_metric(task: Mapping[str, Any], score: str) -> tuple[str, Any]:
    """(the class of the metric, what it says of the score or None)"""
    owner = owner_of(task, score)
    if owner is None:
        return ("expkit", MINIMIZE) if score == "loss" else ("the class of its metric", None)
    said = _declared(owner)
    return str(owner["_target_"]), said.get(score) if isinstance(said, Mapping) else said


def _declared(metric: Mapping[str, Any]) -> Any:
    """What the class of a metric says of its scores, or its static method for the settings of the metric."""
    said = _attribute(str(metric["_target_"]))
    settings = {key: value for key, value in metric.items() if key != "_target_"}
    return said(**settings) if callable(said) else said


def _attribute(target: str) -> Any:
    try:
        return attribute_of(target, "direction")
    except (TargetError, RecursionError):
        module, _, name = target.rpartition(".")
        try:
            return getattr(getattr(importlib.import_module(module), name), "direction", None)
        except Exception as error:  # whatever the user's module does when it is imported
            raise ConfigError([f"{target}: cannot be imported: {reason(error)}"]) from error
