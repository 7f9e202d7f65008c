"""Check a composed configuration: keys, types, ranges, targets, and what has to fit together.

Everything here works on names and files; no component is imported unless its source cannot be read.
"""

import importlib
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from expkit.config import fitting, surroundings, texts
from expkit.config.direction import direction_of
from expkit.config.schema import COMPONENT_GROUPS, COMPONENTS, GROUPS, Root
from expkit.config.targets import Signature, TargetError, package_of, signature_of, targets_in
from expkit.config.trust import PACKAGES, refusal, remote_code, trusted_by, typed_value
from expkit.terminal.errors import ConfigError, nearest

MISSES = "missing from the configuration"
HYDRA_KEYS = ("_target_", "_partial_")
TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list[str]": "a list of texts, such as [a,b]",
    "dict[str, Any]": "a mapping",
    "tuple[float, float]": "two numbers, such as [0.9,0.999]",
}
RANGES: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "min": (operator.ge, "at least"),
    "above": (operator.gt, "more than"),
    "below": (operator.lt, "less than"),
    "max": (operator.le, "at most"),
}


def check(cfg: DictConfig, overrides: list[str]) -> None:
    """Raise if `cfg` cannot be run.

    Args:
        cfg: the composed configuration, interpolations not yet resolved.
        overrides: what was typed on the command line; what it trusts is trusted.

    Raises:
        ConfigError: with every problem found.
    """
    texts.restore(cfg, overrides)
    plain = _resolved(cfg)
    missing = sorted(OmegaConf.missing_keys(cfg))
    problems = [f"{key}: a value is required, none was given" for key in missing]
    problems += _unknown_groups(plain)
    problems += texts.problems(cfg)
    problems += surroundings.problems()
    modules = plain.get("trusted_modules")
    trusted = trusted_by(overrides, modules if isinstance(modules, list) else [])
    targets = list(targets_in(plain))
    refused = [p for key, node in targets if (p := _refused(key, node, trusted))]
    # Arguments may have to be looked up by importing, which has to wait until all are trusted.
    problems += refused or [p for key, node in targets if (p := _wrong_arguments(key, node))]
    typed = dict(map(typed_value, overrides))
    problems += [
        f"{key}: would run code from outside; it counts only when typed on the command line"
        for key in remote_code(plain)
        if key not in typed
    ]
    problems = problems or list(_check_groups(plain, cfg))
    problems = problems or list(fitting.problems(_resolved(cfg)))
    if problems:
        raise ConfigError(problems)
    OmegaConf.update(cfg, "direction", direction_of(_resolved(cfg)), force_add=True)


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        if "task" in cfg and "demo" not in cfg and "'demo." in str(error):
            raise ConfigError(
                "data=demo: the task has no demo data; take data=files with data.train_file=... and "
                "data.validation_file=..., or data=hub"
            ) from None
        key = error.full_key or "the configuration"
        # A group that was removed may be what the value was to come from.
        absent = [f"{group}: {MISSES}" for group in COMPONENT_GROUPS if group not in cfg]
        raise ConfigError([*absent, f"{key}: {str(error).splitlines()[0]}"]) from None
    return {str(key): value for key, value in plain.items()}


def _unknown_groups(plain: Mapping[str, Any]) -> Iterator[str]:
    allowed = [*GROUPS, *COMPONENT_GROUPS, *(f.name for f in fields(Root))]
    required = [f.name for f in fields(Root) if f.default is MISSING]  # logged runs may lack others
    for key, value in plain.items():
        if key not in allowed:
            yield f"{key}={value!r}: no such key; {nearest(key, allowed)}"
    for key in (*GROUPS, *COMPONENT_GROUPS, *required):
        if key not in plain and key != "demo":  # a task may have none
            yield f"{key}: {MISSES}"
    for group in COMPONENT_GROUPS:
        node = plain.get(group)
        if group in plain and (not isinstance(node, dict) or "_target_" not in node):
            yield f"{group}={node!r}: a component needs a _target_"


def _refused(path: str, node: Mapping[str, Any], trusted: frozenset[str]) -> str | None:
    target, key = node["_target_"], f"{path}._target_"
    if not isinstance(target, str):
        return f"{key}={target!r}: expected package.module.Name"
    why = refusal(target, trusted)
    try:
        if why and package_of(target) in PACKAGES and target.rpartition(".")[0].islower():
            signature_of(target)  # most of these are misspelt modules, and then it says so
    except TargetError as error:
        why = str(error)
    return f"{key}={target}: {why}" if why else None


def _wrong_arguments(path: str, node: Mapping[str, Any]) -> str | None:
    target = node["_target_"]
    if "_args_" in node:
        return f"{path}._args_={node['_args_']!r}: arguments are given by name"
    try:
        signature = signature_of(target) or _imported_signature(target)
    except TargetError as error:
        return f"{path}._target_={target}: {error}"
    for name, value in node.items():
        if name not in (*signature.names, *HYDRA_KEYS) and not signature.takes_any:
            known = nearest(name, signature.names)
            return f"{path}.{name}={value!r}: {target} takes no such argument; {known}"
    absent = [n for n in signature.required if n not in node]
    if absent and not node.get("_partial_"):
        return f"{path}.{absent[0]}: required by {target}, but not given"
    return None


def _imported_signature(target: str) -> Signature:
    module, _, name = target.rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except AttributeError:
        names = [n for n in vars(importlib.import_module(module)) if not n.startswith("_")]
        raise TargetError(f"{module} has no {name!r}; {nearest(name, names)}") from None
    except (TypeError, ValueError):
        return Signature((), (), takes_any=True)
    except Exception as error:  # whatever the user's module does when it is imported
        raise TargetError(f"cannot be imported: {type(error).__name__}: {error}") from None
    by_name = {
        n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return Signature(
        tuple(n for n, p in by_name.items() if p.default is p.empty),
        tuple(n for n, p in by_name.items() if p.default is not p.empty),
        takes_any=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )


def _check_groups(plain: Mapping[str, Any], cfg: DictConfig) -> Iterator[str]:
    """Problems of keys, types and ranges; values in `cfg` get the types of their keys."""
    names = {field.name for field in fields(Root)}
    yield from _typed(Root, {k: v for k, v in plain.items() if k in names}, "", cfg)
    for group, schema in GROUPS.items():
        if group not in plain:
            continue
        yield from _typed(schema, plain[group], f"{group}.", cfg)
    for group in COMPONENT_GROUPS:
        if component := COMPONENTS.get(plain[group]["_target_"]):
            arguments = {k: v for k, v in plain[group].items() if k not in HYDRA_KEYS}
            yield from _typed(component, arguments, f"{group}.", cfg)


def _typed(schema: type, values: Any, prefix: str, cfg: DictConfig) -> Iterator[str]:
    if not isinstance(values, dict):
        yield f"{prefix[:-1]}={values!r}: expected a group of keys"
        return
    known = {f.name: f for f in fields(schema)}
    typed: Any = OmegaConf.structured(schema)
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in known:
            yield f"{key}={value!r}: no such key; {nearest(name, known)}"
            continue
        if value is not None and value == known[name].metadata.get("word"):
            continue
        try:
            if known[name].type is bool and isinstance(value, int | float) and value not in (0, 1):
                raise ValueError  # OmegaConf would take any number
            typed[name] = value
        except (ValidationError, ValueError):
            yield f"{key}={value!r}: expected {_type_name(known[name])}"
            continue
        yield from _out_of_range(key, value, typed[name], known[name])
        converted: Any = OmegaConf.to_container(typed)
        if type(converted[name]) is not type(OmegaConf.select(cfg, key)):  # '3' of a variable
            OmegaConf.update(cfg, key, converted[name], force_add=True)


def _type_name(field: Field[Any]) -> str:
    name = inspect.formatannotation(field.type).replace("typing.", "")
    base = name.removesuffix(" | None")
    text = TYPE_NAMES.get(base, base)
    word = "null" if name.endswith(" | None") else field.metadata.get("word")
    return f"{text} or {word}" if word else text


def _out_of_range(key: str, given: Any, value: Any, field: Field[Any]) -> Iterator[str]:
    if value is None:
        return
    for rule, (holds, words) in RANGES.items():
        bound = field.metadata.get(rule)
        if bound is not None and not holds(value, bound):
            yield f"{key}={given!r}: must be {words} {bound}"
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        yield f"{key}={given!r}: {nearest(given, choices)}"
