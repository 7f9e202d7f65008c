"""Find the source of what a `_target_` names, without importing it.

Importing torch takes longer than all other checks together, and importing a module runs it: a target
has to be known as harmless before that.
"""

import ast
import builtins
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from expkit.terminal.errors import nearest

LIBRARIES = ("torch", "transformers", "peft", "datasets")  # a configuration may name their parts


class TargetError(Exception):
    """A target that does not exist; the message says which part of it is missing."""


def mappings_in(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping, at any depth, with its full key."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from mappings_in(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from mappings_in(value, f"{path}[{index}]")


def targets_in(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a `_target_`, at any depth, with its full key."""
    return ((key, found) for key, found in mappings_in(node, path) if "_target_" in found)


def package_of(target: str) -> str:
    """The top-level package of a dotted path."""
    return target.split(".", 1)[0]


@dataclass(frozen=True)
class Source:
    """A module by its name and its file."""

    module: str
    file: Path

    def absolute(self, name: str) -> str:
        """The full name of what the module calls `name`, which may have dots."""
        head, _, rest = name.partition(".")
        known = definitions(self.file)
        node = known.get(head)
        if isinstance(node, ast.Import):
            head = next((a.name for a in node.names if a.asname == head), head)
        elif isinstance(node, ast.ImportFrom):
            original = next(a.name for a in node.names if (a.asname or a.name) == head)
            head = f"{self.imported_from(node)}.{original}"
        elif head not in known and hasattr(builtins, head):
            head = f"builtins.{head}"
        else:
            head = f"{self.module}.{head}"
        return f"{head}.{rest}" if rest else head

    def imported_from(self, node: ast.ImportFrom) -> str:
        """The full name of the module from which a statement imports."""
        if not node.level:
            return node.module or ""
        up = node.level - (self.file.name == "__init__.py")
        parts = self.module.split(".")
        package = parts[: len(parts) - up]
        return ".".join([*package, node.module] if node.module else package)


# A class, a function or the value of a variable, and the module where it stands.
Definition = tuple[Source, ast.stmt]


def definition_of(target: str) -> Definition | None:
    """The statement that defines `target`, also if other modules import it; None if reading cannot tell.

    Raises:
        TargetError: the module or the name in it does not exist.
    """
    *modules, name = target.split(".")
    if not modules or not all(map(str.isidentifier, (*modules, name))):
        raise TargetError("a target is written package.module.Name")
    file = module_file(modules)
    if file is None:
        return None
    known = definitions(file)
    if name in known:
        return _followed(target, Source(".".join(modules), file), known[name])
    if known.keys() & {"*", "__getattr__"}:
        return None
    allowed = sorted(n for n in known if not n.startswith("_"))
    raise TargetError(f"{modules[-1]} has no {name!r}; {nearest(name, allowed)}".removesuffix("; "))


def _followed(target: str, source: Source, node: ast.stmt | None) -> Definition | None:
    if not isinstance(node, ast.ImportFrom):
        return (source, node) if node else None
    origin = source.absolute(target.rpartition(".")[2])
    return find(origin) if origin != target else None


def find(target: str) -> Definition | None:
    """As `definition_of`, but None also for what does not exist: another module may make it at run time."""
    try:
        return definition_of(target)
    except TargetError:
        return None


def attribute_of(target: str, name: str) -> Any:
    """The value that a class, or one of its base classes, gives to an attribute; None if none does.

    Only what is plain is read: a class defined once, with one base class and one literal of that name.

    Raises:
        TargetError: reading the source cannot tell.
    """
    found = definition_of(target)
    if found is None:
        raise TargetError(f"the source of {target} cannot be read")
    source, node = found
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.bases[1:]:
        raise TargetError(f"{source.file}: what {target!r} is cannot be read")
    if f"{node.name}.{name}" in source.file.read_text(encoding="utf-8"):
        raise TargetError(f"{source.file}: {node.name}.{name} is set outside of the class")
    mentioned = len(re.findall(rf"\b{name}\b", ast.unparse(node)))
    if not mentioned:
        base = next(map(ast.unparse, node.bases), None)
        return attribute_of(source.absolute(base), name) if base else None
    try:
        (given,) = (item for item in node.body if name in _names(item))
        if mentioned == 1:
            return ast.literal_eval(given.value)  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        pass  # several, none, or no literal
    raise TargetError(f"{source.file}: {node.name}.{name} is no plain literal")


@cache
def is_library(package: str) -> bool:
    """Whether a top-level package is part of Python or was installed by pip, and not in editable mode."""
    if package in (*LIBRARIES, *sys.stdlib_module_names):
        return True
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        return False  # __main__
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    return any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places)


def module_file(modules: Sequence[str]) -> Path | None:
    """The source file of a dotted module, found without importing it; None if it has none.

    Raises:
        TargetError: there is no such module.
    """
    try:
        spec = importlib.util.find_spec(modules[0])
    except ValueError:
        return None  # __main__
    if spec is None:
        raise TargetError(f"no module named {modules[0]!r} can be imported here")
    for depth, part in enumerate(modules[1:], start=2):
        # The folders of transformers hold a Path, and Python's finder passes over what is no text.
        folders = list(map(str, spec.submodule_search_locations or ()))
        file = _source_file(spec)
        # A name with dots would make Python import the package around it.
        inner = PathFinder.find_spec(part, folders)
        if inner is None:
            if not folders and file is None:
                return None  # a compiled module
            if file and part in definitions(file):
                return None  # an attribute that is not a module: a class, perhaps
            known = nearest(part, sorted(module.name for module in iter_modules(folders)))
            missing = ".".join(modules[:depth])
            raise TargetError(f"{missing!r} does not exist; {known}".removesuffix("; "))
        spec = inner
    return _source_file(spec)


def _source_file(spec: ModuleSpec) -> Path | None:
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


@cache
def definitions(file: Path) -> dict[str, ast.stmt | None]:
    """What a module defines at its top level, ifs included, by name; None for a name defined twice.

    `import a.b` and `import a.c` both define `a`, and mean the same by it.
    """
    found: dict[str, ast.stmt | None] = {}
    for node in _top_level(tree_of(file).body):
        for name in _names(node):
            found[name] = node if name not in found or isinstance(node, ast.Import) else None
    return found


@cache
def tree_of(file: Path) -> ast.Module:
    """The parsed source of a file. Raises TargetError if it is not Python."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise TargetError(f"{file}{line}: {getattr(error, 'msg', error)}") from None


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _top_level(node.body)
            yield from _top_level(node.orelse)
        elif isinstance(node, ast.Try):
            yield from _top_level(node.body)
            for handler in node.handlers:
                yield from _top_level(handler.body)
        else:
            yield node


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign):
        yield from (t.id for t in node.targets if isinstance(t, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
