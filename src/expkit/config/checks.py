"""Check a composed configuration: keys, types, ranges, targets, and what has to fit together.

Everything here works on names and files; no component is imported unless its source cannot be read.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from expkit.config import fitting, surroundings, texts
from expkit.config.direction import direction_of
from expkit.config.schema import COMPONENT_GROUPS, COMPONENTS, GROUPS, Root
from expkit.config.targets import Signature, TargetError, package_of, signature_of, targets_in
from expkit.config.trust import PACKAGES, refusal, remote_code, trusted_by, typed_value
from expkit.errors import ConfigError, nearest

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


def check(cfg: DictConfig, overrides: list[str]) -> None:
    """Raise if `cfg` cannot be run.

    Args:
        cfg: the composed configuration, interpolations not yet resolved.
        overrides: what was typed on the command line; what it trusts is trusted.

    Raises:
        ConfigError: with every problem found.
    """
    texts.restore(cfg, overrides)
    try:
        plain: dict[str, Any] = {str(key): _resolved(cfg, str(key)) for key in cfg}
    except OmegaConfBaseException as error:
        key = error.full_key or "the configuration"
        # A group that was removed may be what the value was to come from.
        absent = [_absent(group) for group in COMPONENT_GROUPS if group not in cfg]
        raise ConfigError([*absent, f"{key}: {str(error).splitlines()[0]}"]) from None
    missing = sorted(OmegaConf.missing_keys(cfg))
    problems = [f"{key}: a value is required, none was given" for key in missing]
    problems += _unknown_groups(plain)
    problems += texts.problems(cfg)
    problems += surroundings.problems()
    converted: dict[str, Any] = {}
    modules = plain.get("trusted_modules")
    trusted = trusted_by(overrides, modules if isinstance(modules, list) else [])
    targets = list(targets_in(plain))
    refused = [p for key, node in targets if (p := _refused(key, node, trusted))]
    # Arguments may have to be looked up by importing, which has to wait until all are trusted.
    problems += refused or [p for key, node in targets if (p := _wrong_arguments(key, node))]
    problems += _remote_code(plain, overrides)
    if not problems:
        problems += _check_groups(plain, converted)
    if not problems:
        problems += fitting.problems(_with(plain, converted))
    if problems:
        raise ConfigError(problems)
    converted["direction"] = direction_of(_with(plain, converted))
    for key, value in converted.items():
        if type(value) is not type(
            OmegaConf.select(cfg, key)
        ):  # such as '3' out of the environment
            OmegaConf.update(cfg, key, value, force_add=True)


def _resolved(cfg: DictConfig, key: str) -> Any:
    if OmegaConf.is_missing(cfg, key):
        return "???"
    node = cfg[key]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _unknown_groups(plain: Mapping[str, Any]) -> Iterator[str]:
    allowed = [*GROUPS, *COMPONENT_GROUPS, *(f.name for f in fields(Root))]
    required = [f.name for f in fields(Root) if f.default is MISSING]  # logged runs may lack others
    for key, value in plain.items():
        if key not in allowed:
            yield f"{key}={value!r}: no such key; {nearest(key, allowed)}"
    for key in (*GROUPS, *COMPONENT_GROUPS, *required):
        if key not in plain:
            yield _absent(key)
    for group in COMPONENT_GROUPS:
        node = plain.get(group)
        if group in plain and (not isinstance(node, dict) or "_target_" not in node):
            yield f"{group}={node!r}: a component needs a _target_"


def _remote_code(plain: Mapping[str, Any], overrides: Iterable[str]) -> Iterator[str]:
    typed = dict(map(typed_value, overrides))
    for key in remote_code(plain):
        if key not in typed:
            yield f"{key}: would run code from outside; it counts only when typed on the command line"


def _absent(key: str) -> str:
    return f"{key}: missing from the configuration"


def _refused(path: str, node: Mapping[str, Any], trusted: frozenset[str]) -> str | None:
    target, key = node["_target_"], f"{path}._target_"
    if not isinstance(target, str):
        return f"{key}={target!r}: expected package.module.Name"
    if not (why := refusal(target, trusted)):
        return None
    try:
        if package_of(target) in PACKAGES and target.rpartition(".")[0].islower():
            signature_of(target)  # most of these are misspelt modules, and then it says so
    except TargetError as error:
        return f"{key}={target}: {error}"
    return f"{key}={target}: {why}"


def _wrong_arguments(path: str, node: Mapping[str, Any]) -> str | None:
    target = node["_target_"]
    if "_args_" in node:
        return f"{path}._args_={node['_args_']!r}: arguments are given by name"
    try:
        signature = signature_of(target) or _imported_signature(target)
    except TargetError as error:
        return f"{path}._target_={target}: {error}"
    given = [name for name in node if name not in HYDRA_KEYS]
    unknown = [n for n in given if n not in signature.names and not signature.takes_any]
    if unknown:
        value = node[unknown[0]]
        return f"{path}.{unknown[0]}={value!r}: {target} takes no such argument; {nearest(unknown[0], signature.names)}"
    absent = [n for n in signature.required if n not in given]
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
    kinds = {k: [n for n, p in parameters.items() if p.kind is k] for k in inspect._ParameterKind}
    named = kinds[inspect.Parameter.POSITIONAL_OR_KEYWORD] + kinds[inspect.Parameter.KEYWORD_ONLY]
    required = tuple(n for n in named if parameters[n].default is inspect.Parameter.empty)
    return Signature(
        required,
        tuple(n for n in named if n not in required),
        takes_any=bool(kinds[inspect.Parameter.VAR_KEYWORD]),
    )


def _with(plain: Mapping[str, Any], converted: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of their keys: what is typed as `3` is a text where one is expected."""
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in plain.items()}
    for key, value in converted.items():
        group, _, name = key.rpartition(".")
        (result[group] if group else result)[name] = value
    return result


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _check_groups(plain: Mapping[str, Any], converted: dict[str, Any]) -> Iterator[str]:
    """Problems of keys, types and ranges; `converted` gets each value in the type of its key."""
    names = {field.name for field in fields(Root)}
    top = {k: v for k, v in plain.items() if k in names}
    yield from _typed(Root, top, "", converted)
    for group, schema in GROUPS.items():
        yield from _typed(schema, plain[group], group, converted)
    for group in COMPONENT_GROUPS:
        node = plain[group]
        if component := COMPONENTS.get(node["_target_"]):
            arguments = {k: v for k, v in node.items() if k not in HYDRA_KEYS}
            yield from _typed(component, arguments, group, converted)


def _typed(schema: type, values: Any, path: str, converted: dict[str, Any]) -> Iterator[str]:
    if not isinstance(values, dict):
        yield f"{path}={values!r}: expected a group of keys"
        return
    known = {f.name: f for f in fields(schema)}
    typed = OmegaConf.structured(schema)
    for name, value in values.items():
        key = f"{path}.{name}" if path else str(name)
        if name not in known:
            yield f"{key}={value!r}: no such key; {nearest(name, known)}"
            continue
        if value is not None and value == known[name].metadata.get("word"):
            converted[key] = value
            continue
        try:
            if known[name].type is bool and isinstance(value, int | float) and value not in (0, 1):
                raise ValueError  # OmegaConf would take any number
            typed[name] = value
            converted[key] = _plain(typed[name])
        except (ValidationError, ValueError):
            yield f"{key}={value!r}: expected {_type_name(known[name])}"
            continue
        yield from _out_of_range(key, value, typed[name], known[name])


def _type_name(field: Field[Any]) -> str:
    name = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    name = name.replace("typing.", "")
    base = name.removesuffix(" | None")
    base = str(field.type) if base in ("list", "dict", "tuple") else base
    text = TYPE_NAMES.get(base.replace("typing.", ""), base)
    word = "null" if name.endswith(" | None") else field.metadata.get("word")
    return f"{text} or {word}" if word else text


def _out_of_range(key: str, given: Any, value: Any, field: Field[Any]) -> Iterator[str]:
    if value is None:
        return
    rules: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
        "min": (lambda v, bound: v >= bound, "at least"),
        "above": (lambda v, bound: v > bound, "more than"),
        "below": (lambda v, bound: v < bound, "less than"),
        "max": (lambda v, bound: v <= bound, "at most"),
    }
    for rule, (holds, words) in rules.items():
        bound = field.metadata.get(rule)
        if bound is not None and not holds(value, bound):
            yield f"{key}={given!r}: must be {words} {bound}"
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        yield f"{key}={given!r}: {nearest(given, choices)}"
