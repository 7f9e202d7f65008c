"""What keys mean: the comments beside them in yaml files, and the docstrings of components."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from expkit.config.targets import find, mappings_in
from expkit.terminal.errors import UserError

VARIES = "???"  # in place of a default value: the files do not agree
Meanings = dict[str, dict[str, dict[str, Any]]]


def meanings_in(files: Mapping[Path, str]) -> tuple[Meanings, dict[str, str]]:
    """The description and the default value of each key, by its component or group; the place of each component.

    Args:
        files: yaml files and their groups; the group of config.yaml is "".

    Raises:
        UserError: a file is no yaml.
    """
    found: Meanings = defaultdict(lambda: defaultdict(dict))
    places: dict[str, str] = {}
    for file, group in files.items():
        text = file.read_text(encoding="utf-8")
        prefix = "" if text.startswith("# @package _global_") else group
        try:
            node = OmegaConf.to_container(OmegaConf.load(file))
            tree = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise UserError(f"{file}: cannot be read: {error}") from None
        comments = dict(_comments(text.splitlines(), tree, prefix))
        for path, mapping in mappings_in(node, prefix):
            owner = mapping.get("_target_", path)
            if "_target_" in mapping:
                places.setdefault(owner, path)
            for key, value in mapping.items():
                known = found[owner][str(key)]
                if text := comments.get(f"{path}.{key}".removeprefix("."), ""):
                    known.setdefault("description", text)
                # A task or a recipe sets keys of other groups, but these have no such defaults without it.
                if group in ("", path.partition(".")[0]):
                    is_same = known.setdefault("default", value) == value
                    known["default"] = value if is_same else VARIES
    return found, places


def _comments(lines: list[str], node: yaml.Node | None, path: str) -> Iterator[tuple[str, str]]:
    """(full key, the comment beside it)"""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = f"{path}.{key.value}".removeprefix(".")
        end = value.end_mark if value.end_mark.line == key.end_mark.line else key.end_mark
        yield name, lines[end.line][end.column :].partition("# ")[2]
        yield from _comments(lines, value, name)


def documented(target: str) -> dict[str, str]:
    """The entries below `Args:` in the docstring of a component and of its base classes."""
    source, node = find(target) or (None, None)
    if source is None or not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {}
    found: dict[str, str] = {}
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        found |= documented(source.absolute(ast.unparse(base)))
    text = (ast.get_docstring(node) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", text, re.M)
    return found | {key: " ".join(meaning.split()) for key, meaning in entries}
