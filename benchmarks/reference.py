"""Write docs/reference.md, the reference of all config keys, from the files in `conf` and their schemas.

python -m benchmarks.reference
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from expkit.config.project import conf_dir
from expkit.config.schema import COMPONENT_GROUPS, GROUPS

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
INTRODUCTION = """# Config reference

Every key of the configuration, with its type, its range, its default value and its meaning. `make reference` writes this
page from the files in `conf` and from the signatures of the components. The same facts stand in the JSON Schemas in
`conf/.schema`, with which an editor completes and checks the files: see
[Your editor](own-components.md#your-editor).

A key is typed with its group before it, as in `train.epochs=3`. Wherever a value may stand, there may also be an
interpolation, such as `${train.batch_size}`. The default value is the one in the files of `conf`; it is left out where they
differ, and where you have to give a value.
"""
TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "exclusiveMaximum": "<", "maximum": "≤"}
OUTSIDE = ("defaults", "_target_", "_partial_")  # keys of Hydra
SHARED = "Keys of all components of this group:"
Row = tuple[str, ...]


def page(conf: Path) -> str:
    """The text of the page."""
    whole = json.loads((conf / ".schema" / "config.json").read_text(encoding="utf-8"))
    known = whole["definitions"]
    parts = [INTRODUCTION, "## Keys of the whole run", table(rows(whole))]
    for name, section in GROUPS.items():
        parts += [
            f"## {name}",
            str(section.__doc__),
            *options(conf, name, None),
            table(rows(known[name])),
        ]
    for group in (*COMPONENT_GROUPS, "hydra.launcher", "hydra.sweeper"):
        targets = known[group]["properties"]["_target_"]["anyOf"][0]["enum"]
        parts += [f"## {group.replace('.', '/')}", *components(conf, group, targets, known)]
    metrics = [name for name in known if name.startswith("expkit.metrics.")]
    parts += ["## Metrics in task.metrics", *components(conf, "", sorted(metrics), known)]
    parts += [
        "## experiment",
        "Recipes set keys of several groups.",
        *options(conf, "experiment", None),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def components(conf: Path, group: str, targets: list[str], known: Any) -> Iterator[str]:
    """The keys that all components share, then each component with its options and its own keys."""
    found = {target: list(rows(known[target])) for target in targets}
    shared = [
        r for r in found[targets[0]] if len(targets) > 1 and all(r in f for f in found.values())
    ]
    if shared:
        yield SHARED
        yield table(shared)
    if bare := [f"`{target}`" for target in targets if group == "" and not found[target]]:
        yield f"Without keys: {', '.join(bare)}."
    for target, keys in found.items():
        if not group and not keys:
            continue
        yield f"### `{target}`"
        yield from options(conf, group, target)
        yield table([row for row in keys if row not in shared])
        if others := [key for key in unsaid(known[target]) if target.startswith("torch.")]:
            names = ", ".join(f"`{key}`" for key in others)
            yield f"It also takes {names}, which PyTorch's documentation of the class describes."


def unsaid(schema: Any) -> list[str]:
    """The keys of a component that have no description."""
    properties = schema["properties"].items()
    return [key for key, value in properties if key not in OUTSIDE and "description" not in value]


def options(conf: Path, group: str, target: str | None) -> Iterator[str]:
    """The files of a group that choose a component, each with what it says at its beginning."""
    lines = []
    for file in sorted(conf.joinpath(group.replace(".", "/")).glob("*.yaml")) if group else ():
        if target is None or target_of(file) == target:
            head = re.match(r"(?:#.*\n)*", file.read_text(encoding="utf-8"))
            said = re.findall(r"^# (?!@|yaml-| )(.*)", head[0] if head else "", re.M)
            lines.append(f"- `{group.replace('.', '/')}={file.stem}`: {' '.join(said)}")
    if lines:
        yield "\n".join(lines)


def target_of(file: Path) -> str | None:
    """The component that a file chooses, itself or by the option that its defaults name."""
    node: Any = OmegaConf.to_container(OmegaConf.load(file))
    node = node.get(file.parent.name, node)  # a task sets keys of other groups, too
    bases = [
        name for name in node.get("defaults", ()) if isinstance(name, str) and name != "_self_"
    ]
    if "_target_" not in node and bases:
        return target_of(file.with_stem(bases[0]))
    return node.get("_target_")


def rows(schema: Any, prefix: str = "") -> Iterator[Row]:
    """Key, type, range, default and meaning of each key that has a meaning."""
    for key, value in schema["properties"].items():
        if key in OUTSIDE or "description" not in value:
            continue
        kinds = [kind for kind in value.get("anyOf", [{}]) if "$ref" not in kind]
        default = shown(value["default"]) if "default" in value else ""
        types = list(dict.fromkeys(filter(None, map(type_of, kinds))))
        bounds = ", ".join(dict.fromkeys(filter(None, map(range_of, kinds))))
        meaning = re.sub(r"([_*])", r"\\\1", value["description"]).replace("<", "&lt;")
        yield f"`{prefix}{key}`", " or ".join(types), bounds, default, meaning
        if "additionalProperties" not in str(value.get("properties")):
            yield from rows(value, f"{key}.") if "properties" in value else ()


def type_of(kind: Any) -> str:
    """A schema in words, such as "list of text"."""
    if "enum" in kind:
        return " or ".join(f"`{choice}`" for choice in kind["enum"])
    parts = kind.get("items", kind.get("additionalProperties"))
    if isinstance(parts, dict):
        inner = parts.get("anyOf", [])
        inner = [k for part in inner for k in part.get("anyOf", [part]) if "$ref" not in k]
        names = " or ".join(dict.fromkeys(filter(None, map(type_of, inner))))
        word, link = ("list", "of") if kind["type"] == "array" else ("mapping", "to")
        return f"{word} {link} {names}" if names else word
    return TYPES.get(kind.get("type"), "")


def range_of(kind: Any) -> str:
    """The bounds of a number, or of the numbers in a list or a mapping."""
    parts = kind.get("items", kind.get("additionalProperties"))
    if isinstance(parts, dict):
        inner = [k for part in parts.get("anyOf", []) for k in part.get("anyOf", [part])]
        return ", ".join(dict.fromkeys(filter(None, map(range_of, inner))))
    return ", ".join(f"{sign} {kind[name]}" for name, sign in BOUNDS.items() if name in kind)


def shown(value: Any) -> str:
    """A value as a yaml file has it; mappings are left out, as their keys have rows of their own."""
    if isinstance(value, dict):
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


def table(found: Any) -> str:
    """A table without the columns that would be empty."""
    found = list(found)
    if not found:
        return ""
    kept = [i for i, cells in enumerate(zip(*found, strict=True)) if any(cells)]
    head = ("Key", "Type", "Range", "Default", "Meaning")
    lines = [head, ("---",) * 5, *([cell.replace("|", "\\|") for cell in row] for row in found)]
    return "\n".join("| " + " | ".join(line[i] for i in kept) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(conf_dir()), encoding="utf-8")
