"""Write JSON Schemas for the files in `conf`, with which an editor completes and checks them.

They go into the folder `conf/.schema` of the project, and follow from the signatures of the components.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from expkit.config.checks import COMPLETED
from expkit.config.composition import SECTIONS
from expkit.config.constraints import Range
from expkit.config.meanings import VARIES, Meanings, documented, meanings_in
from expkit.config.project import conf_dir, project_root
from expkit.config.schema import COMPONENT_GROUPS, GROUPS, Root
from expkit.config.signatures import signature_of
from expkit.config.targets import TargetError
from expkit.config.values import LISTS, MAPPINGS, UNIONS
from expkit.terminal.errors import UserError

Schema = dict[str, Any]
TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
BOUNDS = {"above": "exclusiveMinimum", "below": "exclusiveMaximum"}  # others are named alike
HAS_TARGET = {"type": "object", "required": ["_target_"]}
LATER = {
    "anyOf": [
        {"pattern": r"\$\{|^\?\?\?$", "type": "string"},
        {"allOf": [HAS_TARGET, {"$ref": "#/definitions/any"}]},
    ]
}
NESTED = {"not": {"required": ["defaults"]}}  # a file has defaults, and no mapping in it


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    return argparse.ArgumentParser(description=__doc__)


def run(options: argparse.Namespace) -> bool:
    """Write the schemas of the project in which the command was typed."""
    from expkit.terminal.display import say

    conf = project_root() / "conf"
    if not conf.is_dir():
        raise UserError(f"{conf}: no such folder; schemas are for the config files of a project")
    say(f"{len(write(conf))} files in {conf / '.schema'}")
    return True


def write(conf: Path) -> list[Path]:
    """Write `conf/.schema`: a file for each group, and config.json for files that set keys of several groups.

    Raises:
        UserError: a file in `conf` is no yaml.
    """
    folder = conf / ".schema"
    folder.mkdir(exist_ok=True)
    files = {folder / f"{name}.json": schema for name, schema in schemas(conf).items()}
    for file, schema in files.items():
        text = json.dumps(schema, indent=1, ensure_ascii=False)
        file.write_text(f"{text}\n", encoding="utf-8")
    return list(files)


def schemas(conf: Path) -> dict[str, Schema]:
    """`config`, the schema of the whole configuration with all definitions, and references to those of the groups."""
    files: dict[Path, str] = {}
    options: dict[str, list[str | None]] = {f"hydra/{section}": [] for section in SECTIONS}
    for folder in dict.fromkeys((conf_dir().resolve(), conf.resolve())):
        for file in sorted(folder.rglob("*.yaml"), key=lambda file: (file.parent != folder, file)):
            parts = file.relative_to(folder).with_suffix("").parts
            depth = min(len(parts) - 1, 1 + (parts[0] == "hydra"))
            files[file] = group = "/".join(parts[:depth])
            options.setdefault(group, [None]).append("/".join(parts[depth:]))
    del options[""]
    meanings, places = meanings_in(files)
    components = {target: _component(target, at, meanings) for target, at in places.items()}
    groups = {}
    for group in options:
        mine = [target for target, at in places.items() if at == group]
        if not mine:
            continue  # recipes
        groups[group.replace("/", ".")] = {
            "type": "object",
            "properties": {"_target_": {"anyOf": [{"enum": mine}, {"type": "string"}]}},
            "if": HAS_TARGET,
            "then": _ref("known"),
            "else": {"anyOf": list(map(_ref, mine))},
        }
    sections = {name: _section(name, kind, meanings) for name, kind in GROUPS.items()}
    whole = _section("", Root, meanings)
    nested = {name: {"allOf": [_ref(name), NESTED]} for name in (*GROUPS, *COMPONENT_GROUPS)}
    hydra = {section: _ref(f"hydra/{section}") for section in ("launcher", "sweeper")}
    whole["properties"] |= {**nested, "hydra": {"type": "object", "properties": hydra}}
    whole["definitions"] = {
        "later": LATER,
        "any": {"if": HAS_TARGET, "then": {"allOf": [_ref("known"), NESTED]}},
        "known": {"allOf": [_when(target) for target in components]},
        "defaults": _defaults(options),
        **groups,
        **sections,
        **components,
    }
    files = {name: {"$ref": f"config.json#/definitions/{name}"} for name in (*groups, *sections)}
    return {"config": whole, **files}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name.replace('/', '.')}"}


def _when(target: str) -> Schema:
    return {"if": {"properties": {"_target_": {"const": target}}}, "then": _ref(target)}


def _section(name: str, section: type, meanings: Meanings) -> Schema:
    kinds = get_type_hints(section, include_extras=True)
    return {"description": section.__doc__, **_mapping(kinds, name, meanings[name], meanings)}


def _component(target: str, at: str, meanings: Meanings) -> Schema:
    """What a component takes: anything, if its source cannot tell."""
    try:
        signature = signature_of(target)
    except TargetError:
        signature = None
    kinds = dict(signature.kinds) if signature else {}
    for given in [*list(kinds)[:1], *COMPLETED[at]] if at in COMPLETED else ():
        kinds.pop(given, None)
    is_open = not signature or signature.takes_any
    kinds = {**dict.fromkeys(meanings[target] if is_open else (), Any), **kinds}
    known = {key: {"description": text} for key, text in documented(target).items()}
    made = _mapping(
        {"_target_": str, "_partial_": bool, **kinds}, at, {**known, **meanings[target]}, meanings
    )
    return {**made, "additionalProperties": is_open}


def _mapping(kinds: Mapping[str, Any], at: str, keys: Any, meanings: Meanings) -> Schema:
    """A mapping with these keys and no others, which lies at a place of the configuration."""
    properties = {"defaults": _ref("defaults")}
    for name, kind in kinds.items():
        known = {k: v for k, v in keys.get(name, {}).items() if v != VARIES}
        properties[name] = {**_value(kind), **known}
        if inner := meanings.get(f"{at}.{name}"):  # as data.csv
            properties[name]["properties"] = inner
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(kind: Any) -> Schema:
    kinds = list(_kinds(kind))
    return {"allOf": [_ref("any")]} if {} in kinds else {"anyOf": [*kinds, _ref("later")]}


def _kinds(kind: Any) -> Iterator[Schema]:
    """The alternatives of a type; {} for one that is not judged."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        ranges = [vars(rule) for rule in arguments[1:] if isinstance(rule, Range)]
        bounds = {
            BOUNDS.get(name, name): bound
            for each in ranges
            for name, bound in each.items()
            if bound is not None and isfinite(bound)
        }
        yield from ({**schema, **bounds} for schema in _kinds(arguments[0]))
    elif origin in UNIONS:
        yield from (schema for part in arguments for schema in _kinds(part))
    elif origin is Literal:
        yield {"enum": list(arguments)}
    elif origin in MAPPINGS:
        yield {"type": "object", "additionalProperties": _value((*arguments, Any, Any)[1])}
    elif origin is tuple and ... not in (arguments or (...,)):
        items, size = list(map(_value, arguments)), len(arguments)
        yield {"type": "array", "items": items, "minItems": size, "maxItems": size}
    elif origin in (*LISTS, tuple):
        yield {"type": "array", "items": _value((*arguments, Any)[0])}
    else:
        yield {"type": TYPES[origin]} if origin in TYPES else {}


def _defaults(options: Mapping[str, list[str | None]]) -> Schema:
    """A defaults list: each entry is a text, or a group with one or several of its options."""
    values: dict[str, Schema] = {}
    for group, names in options.items():
        several = {"type": "array", "items": {"enum": names}}
        values[group] = {"anyOf": [{"enum": names}, several, _ref("later")]}
        if group.startswith("hydra/"):
            values[group] = {}  # Hydra and its plugins have options of their own
    entry = {
        "type": "object",
        "properties": {f"override /{group}": value for group, value in values.items()},
        "patternProperties": {
            f"^((optional|override) )*/?{g}(@.+)?$": v for g, v in values.items()
        },
        "additionalProperties": False,
    }
    return {"type": "array", "items": {"anyOf": [{"type": "string"}, entry]}}
