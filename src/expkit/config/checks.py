"""Check a composed configuration: keys, types, ranges, targets, and what has to fit together.

Everything here works on names and files; no component is imported unless its source cannot be read.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.config import fitting, surroundings, texts
from expkit.config.direction import direction_of
from expkit.config.messages import RECIPE
from expkit.config.schema import COMPONENT_GROUPS, GROUPS, Root, sections
from expkit.config.signatures import Signature, signature_of
from expkit.config.targets import TargetError, definition_of, package_of, targets_in
from expkit.config.trust import PACKAGES, refusal, remote_code, trusted_by, typed_value
from expkit.config.values import Unfit, fitted
from expkit.terminal.errors import ConfigError, nearest

ABSENT = "missing from the configuration"
HYDRA_KEYS = ("_target_", "_partial_")
# In these groups expkit itself gives the first argument of the component, and the arguments named here.
COMPLETED = {"optimizer": (), "scheduler": ("total_steps",)}


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
    signatures: dict[str, Signature] = {}
    problems += refused or [p for at, node in targets if (p := _wrong_names(at, node, signatures))]
    typed = dict(map(typed_value, overrides))
    problems += [
        f"{key}: would run code from outside; it counts only when typed on the command line"
        for key in remote_code(plain)
        if key not in typed
    ]
    problems = problems or list(_wrong_values(plain, targets, signatures, cfg))
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
        absent = [f"{group}: {ABSENT}" for group in COMPONENT_GROUPS if group not in cfg]
        raise ConfigError([*absent, f"{key}: {str(error).splitlines()[0]}"]) from None
    return {str(key): value for key, value in plain.items()}


def _unknown_groups(plain: Mapping[str, Any]) -> Iterator[str]:
    allowed = [*GROUPS, *COMPONENT_GROUPS, *(f.name for f in fields(Root))]
    required = [f.name for f in fields(Root) if f.default is MISSING]  # logged runs may lack others
    for key, value in plain.items():
        if key == "experiment":
            yield f"experiment={value!r}: {RECIPE}"
        elif key not in allowed:
            yield f"{key}={value!r}: no such key; {nearest(key, allowed)}"
    for key in (*GROUPS, *COMPONENT_GROUPS, *required):
        if key not in plain and key != "demo":  # a task may have none
            yield f"{key}: {ABSENT}"
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
            definition_of(target)  # most of these are misspelt modules, and then it says so
    except TargetError as error:
        why = str(error)
    return f"{key}={target}: {why}" if why else None


def _wrong_names(
    path: str, node: Mapping[str, Any], signatures: dict[str, Signature]
) -> str | None:
    """Say what is wrong with a target or the names of its arguments; add its signature to `signatures`."""
    target = node["_target_"]
    if "_args_" in node:
        return f"{path}._args_={node['_args_']!r}: arguments are given by name"
    try:
        signature = signatures[path] = signature_of(target) or _imported_signature(target)
    except TargetError as error:
        return f"{path}._target_={target}: {error}"
    given = [*list(signature.kinds)[:1], *COMPLETED[path]] if path in COMPLETED else []
    allowed = [name for name in signature.kinds if name not in given]
    for name, value in node.items():
        if name in given or not (signature.takes_any or name in (*allowed, *HYDRA_KEYS)):
            known = nearest(name, allowed) or "it takes none"
            return f"{path}.{name}={value!r}: {target} takes no such argument; {known}"
    absent = [n for n in signature.required if n not in node]
    if absent and not node.get("_partial_"):
        return f"{path}.{absent[0]}: required by {target}, but not given"
    return None


def _imported_signature(target: str) -> Signature:
    module, _, name = target.rpartition(".")
    try:
        component = getattr(importlib.import_module(module), name)
    except AttributeError:
        names = [n for n in vars(importlib.import_module(module)) if not n.startswith("_")]
        raise TargetError(f"{module} has no {name!r}; {nearest(name, names)}") from None
    except Exception as error:  # whatever the user's module does when it is imported
        raise TargetError(f"cannot be imported: {type(error).__name__}: {error}") from None
    try:
        parameters = _parameters(component)
    except (TypeError, ValueError):
        return Signature({}, takes_any=True)
    by_name = {
        n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return Signature(
        {n: _kind(p) for n, p in by_name.items()},
        tuple(n for n, p in by_name.items() if p.default is p.empty),
        takes_any=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )


def _kind(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty:
        return Any
    try:
        return (
            parameter.annotation if parameter.default is not None else parameter.annotation | None
        )
    except TypeError:  # the annotation is no type
        return Any


def _parameters(component: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(component, eval_str=True).parameters
    except Exception:  # such as the name of a class that is imported for type checkers alone
        return inspect.signature(component).parameters


def _wrong_values(
    plain: Mapping[str, Any],
    targets: list[tuple[str, dict[str, Any]]],
    signatures: Mapping[str, Signature],
    cfg: DictConfig,
) -> Iterator[str]:
    """Check keys, types and ranges, and give the values in `cfg` the types of their keys."""
    for group, values, kinds in sections(plain):
        if not isinstance(values, dict):
            yield f"{group}={values!r}: expected a group of keys"
            continue
        for name in [name for name in values if group and name not in kinds]:
            yield f"{group}.{name}={values[name]!r}: no such key; {nearest(name, kinds)}"
        yield from _unfit({k: v for k, v in values.items() if k in kinds}, kinds, group, cfg)
    for path, node in targets:
        # What Hydra makes of a target inside of an argument has a type of its own.
        values = {k: v for k, v in node.items() if not any(targets_in(v))}
        yield from _unfit(values, signatures[path].kinds, path, cfg)


def _unfit(
    values: Mapping[str, Any], kinds: Mapping[str, Any], path: str, cfg: DictConfig
) -> Iterator[str]:
    for name, value in values.items():
        key = f"{path}.{name}" if path else name
        try:
            made = fitted(value, kinds.get(name, Any))
        except Unfit as why:
            yield f"{key}={value!r}: {why}"
            continue
        if repr(made) != repr(value):  # such as '3', the value of an environment variable
            OmegaConf.update(cfg, key, made, force_add=True)
