"""Write JSON Schemas for the files in `conf`, with which an editor completes and checks them.

They go into the folder `conf/.schema` of the project, and follow from the signatures of the components.
"""

import argparse
import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from omegaconf._utils import get_yaml_loader

from expkit.config.checks import COMPLETED
from expkit.config.composition import SECTIONS
from expkit.config.project import conf_dir, project_root
from expkit.config.schema import COMPONENT_GROUPS, GROUPS, sections
from expkit.config.signatures import Signature, signature_of
from expkit.config.targets import find
from expkit.config.values import LISTS, MAPPINGS, UNIONS
from expkit.terminal.display import say
from expkit.terminal.errors import UserError

Schema = dict[str, Any]
Keys = dict[str, dict[str, Schema]]  # descriptions and default values, by the owner of a key
TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
BOUNDS = {"above": "exclusiveMinimum", "below": "exclusiveMaximum"}  # others have the same name
TARGET = {"type": "object", "required": ["_target_"]}
VARIES = "???"  # the files do not agree on a default value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    return argparse.ArgumentParser(description=__doc__)


def run(options: argparse.Namespace) -> bool:
    """Write the schemas of the project in which the command was typed."""
    conf = project_root() / "conf"
    if not conf.is_dir():
        raise UserError(f"{conf}: no such folder; schemas are for the config files of a project")
    say(f"{len(write(conf))} files in {conf / '.schema'}")
    return True


def write(conf: Path) -> list[Path]:
    """Write a file for each group, and config.json for yaml files that set keys of several groups.

    Raises:
        UserError: a file in `conf` is no yaml.
    """
    files: dict[str, dict[Path, str]] = defaultdict(dict)  # by group, names of its options
    for folder in dict.fromkeys((conf_dir().resolve(), conf.resolve())):
        for file in sorted(folder.rglob("*.yaml")):
            parts = file.relative_to(folder).with_suffix("").parts
            depth = min(len(parts) - 1, 1 + (parts[0] == "hydra"))
            files[".".join(parts[:depth])][file] = "/".join(parts[depth:])
    try:
        schemas = {"config": _whole(files)}
    except yaml.YAMLError as error:
        raise UserError(str(error)) from None
    for group in schemas["config"]["definitions"].keys() & {*GROUPS, *files}:
        schemas[group] = {"$ref": f"config.json#/definitions/{group}"}
    folder = conf / ".schema"
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise UserError(f"{folder}: is a link; schemas are written into the project alone")
    for name, schema in schemas.items():
        text = json.dumps(schema, indent=1, ensure_ascii=False)
        file = folder / f"{name}.json"
        file.unlink(missing_ok=True)  # which may be a link to a file elsewhere
        file.write_text(f"{text}\n", encoding="utf-8")
    return [folder / f"{name}.json" for name in schemas]


def _whole(files: Mapping[str, Mapping[Path, str]]) -> Schema:
    """The schema of the whole configuration; groups and components are definitions in it."""
    places: dict[str, str] = {}  # where each component was found
    keys: Keys = defaultdict(lambda: defaultdict(dict))
    for group in sorted(files):  # "" comes first, with config.yaml
        for file in files[group]:
            _read(file, group, keys, places)
    made = {name: _mapping(name, kinds, keys) for name, _, kinds in sections({})}
    made |= {target: _component(target, place, keys) for target, place in places.items()}
    for group in files:
        if mine := [target for target, place in places.items() if place == group]:
            names = {"_target_": {"anyOf": [{"enum": mine}, {"type": "string"}]}}
            chosen = {"if": TARGET, "then": _ref("known"), "else": {"anyOf": list(map(_ref, mine))}}
            made[group] = {"type": "object", "properties": names, **chosen}
    when = [{"if": {"properties": {"_target_": {"const": t}}}, "then": _ref(t)} for t in places]
    made |= {"known": {"allOf": when}, "any": {"if": TARGET, "then": _ref("known")}}
    later = [{"type": "string", "pattern": r"\$\{|^\?\?\?$"}, {**TARGET, "allOf": [_ref("any")]}]
    made |= {"later": {"anyOf": later}, "defaults": _defaults(files)}
    whole = made.pop("")
    whole["properties"] |= {n: _ref(n) for n in (*GROUPS, *COMPONENT_GROUPS)} | {"hydra": {}}
    return {**whole, "definitions": made}


def _read(file: Path, group: str, keys: Keys, places: dict[str, str]) -> None:
    """Collect the keys of each mapping in a file, which belong to its target or else to its place."""
    text = file.read_text(encoding="utf-8")
    lines, loader = text.splitlines(), get_yaml_loader()(text)
    loader.name = str(file)

    def walk(node: yaml.Node | None, place: str, owner: str) -> None:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        for target in (value.value for key, value in pairs if key.value == "_target_"):
            places.setdefault(owner := target, place)
        for key, value in pairs:
            known, made = keys[owner][key.value], loader.construct_object(value, deep=True)
            end = value.end_mark if value.end_mark.line == key.end_mark.line else key.end_mark
            if comment := lines[end.line][end.column :].partition("# ")[2]:
                known.setdefault("description", comment)
            if place.startswith(group):  # a task or a recipe sets keys of other groups, too
                known["default"] = made if known.setdefault("default", made) == made else VARIES
            walk(value, *(f"{at}.{key.value}".removeprefix(".") for at in (place, owner)))

    prefix = "" if text.startswith("# @package _global_") else group
    walk(loader.get_single_node(), prefix, prefix)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _component(target: str, place: str, keys: Keys) -> Schema:
    """What a component takes; anything if its source cannot tell."""
    _, node = find(target) or (None, None)
    signature = (signature_of(target) if node else None) or Signature({}, takes_any=True)
    text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""
    entries = (text or "").partition("Args:\n")[2].partition("\n\n")[0]
    for name, meaning in re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", entries, re.M):
        keys[target][name].setdefault("description", " ".join(meaning.split()))
    given = (*list(signature.kinds)[:1], *COMPLETED[place]) if place in COMPLETED else ()
    others = dict.fromkeys(keys[target] if signature.takes_any else (), Any)
    kinds = {**others, "_target_": str, "_partial_": bool, **signature.kinds}
    kinds = {name: kind for name, kind in kinds.items() if name not in given}
    return _mapping(target, kinds, keys, signature.takes_any)


def _mapping(owner: str, kinds: Mapping[str, Any], keys: Keys, is_open: bool = False) -> Schema:
    properties = {"defaults": _ref("defaults")}
    for name, kind in kinds.items():
        known = {k: v for k, v in keys[owner][name].items() if v != VARIES}
        inner = {"properties": keys[f"{owner}.{name}"]} if f"{owner}.{name}" in keys else {}
        properties[name] = {**_value(kind), **known, **inner}
    return {"type": "object", "properties": properties, "additionalProperties": is_open}


def _value(kind: Any) -> Schema:
    kinds = list(_kinds(kind))
    return {"allOf": [_ref("any")]} if {} in kinds else {"anyOf": [*kinds, _ref("later")]}


def _kinds(kind: Any) -> Iterator[Schema]:
    """The alternatives of a type; {} stands for anything."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        ranges = [item for rule in arguments[1:] for item in vars(rule).items()]
        bounds = {BOUNDS.get(name, name): v for name, v in ranges if v not in (None, inf)}
        yield from ({**schema, **bounds} for schema in _kinds(arguments[0]))
    elif origin in UNIONS:
        yield from (schema for part in arguments for schema in _kinds(part))
    elif origin is Literal:
        yield {"enum": list(arguments)}
    elif origin in MAPPINGS:
        yield {"type": "object", "additionalProperties": _value((*arguments, Any, Any)[1])}
    elif origin in (*LISTS, tuple):
        parts = [part for part in arguments if part is not ...]
        yield {"type": "array", "items": {"anyOf": list(map(_value, parts or [Any]))}}
    else:
        yield {"type": TYPES[origin]} if origin in TYPES else {}


def _defaults(files: Mapping[str, Mapping[Path, str]]) -> Schema:
    """A defaults list: each entry is a text, or a group with one or several of its options."""
    entries: dict[str, Schema] = {f"hydra/{name}": {} for name in SECTIONS}  # plugins have options
    for group in (name for name in files if name and "." not in name):
        one = {"enum": list(dict.fromkeys(files[group].values()))}
        entries[group] = {"anyOf": [one, {"type": ["null", "array"]}, _ref("later")]}
    pattern = "^((optional|override) )*/?{}(@.+)?$".format
    entry = {
        "properties": {f"override /{group}": value for group, value in entries.items()},
        "patternProperties": {pattern(group): value for group, value in entries.items()},
        "additionalProperties": False,
    }
    choice = {"if": {"type": "object"}, "then": entry, "else": {"type": "string"}}
    return {"type": "array", "items": choice}
