"""Find what a `_target_` names, and what it accepts, by reading source files instead of importing.

Importing torch takes longer than all other checks together, and importing a module runs it: a
target has to be known as harmless before that. Where reading is not enough (a name that is made at
run time, a compiled module), `signature_of` says so and the caller may import the module.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from expkit.terminal.errors import nearest

Seen = frozenset[tuple[Path, str]]  # files, and the names that were looked up in them


class TargetError(Exception):
    """A target that does not exist; the message says which part of it is missing."""


@dataclass(frozen=True)
class Signature:
    """Parameter names of a callable, `self` left out, and the annotations that its source has."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    takes_any: bool
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters that can be given by name."""
        return self.required + self.optional


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


def signature_of(target: str) -> Signature | None:
    """The signature of the class or function that `target` names; None if reading cannot tell.

    Raises:
        TargetError: the module or the name in it does not exist.
    """
    *modules, name = target.split(".")
    if not modules or not all(map(str.isidentifier, (*modules, name))):
        raise TargetError("a target is written package.module.Name")
    file = _module_file(modules)
    return _signature_in(file, name, frozenset()) if file else None


def attribute_of(target: str, name: str) -> Any:
    """The value that a class, or one of its base classes, gives to an attribute; None if none does.

    Raises:
        TargetError: reading the source cannot tell.
    """
    *modules, owner = target.split(".")
    if file := _module_file(modules):
        return _attribute_in(file, owner, name)
    raise TargetError(f"the source of {target} cannot be read")


def _attribute_in(file: Path, owner: str, name: str) -> Any:
    """Read only what is plain: a class defined once, with one base class and one literal of that name."""
    found = [node for names, node in _definitions(file) if owner in names]
    node = found[0] if len(found) == 1 else None
    if isinstance(node, ast.ImportFrom) and (source := _imported(file, node, owner)):
        return _attribute_in(*source, name)
    is_set_later = f"{owner}.{name}" in file.read_text(encoding="utf-8")
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.bases[1:] or is_set_later:
        raise TargetError(f"{file}: what {owner!r} is cannot be read")
    mentioned = len(re.findall(rf"\b{name}\b", ast.unparse(node)))
    if not mentioned and not node.bases:
        return None
    if not mentioned:
        base = ast.unparse(node.bases[0])
        return attribute_of(base, name) if "." in base else _attribute_in(file, base, name)
    try:
        (given,) = (item for item in node.body if name in _names(item))
        if mentioned == 1:
            return ast.literal_eval(given.value)  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        pass  # several, none, or no literal
    raise TargetError(f"{file}: {owner}.{name} is no plain literal")


def is_imported(target: str) -> bool:
    """Whether the module of `target` has that name from an import: it belongs to somebody else."""
    *modules, name = target.split(".")
    try:
        file = _module_file(modules) if modules else None
    except TargetError:
        return False
    return file is not None and any(
        name in names and isinstance(node, ast.Import | ast.ImportFrom)
        for names, node in _definitions(file)
    )


def _module_file(modules: list[str]) -> Path | None:
    """The source file of a dotted module; only the top-level package is looked up by Python."""
    spec = importlib.util.find_spec(modules[0])
    if spec is None:
        raise TargetError(f"no module named {modules[0]!r} can be imported here")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    for depth, part in enumerate(modules[1:], start=2):
        folder = file.parent
        candidates = (folder / part / "__init__.py", folder / f"{part}.py")
        found = next((c for c in candidates if c.is_file()), None)
        if found is None or file.name != "__init__.py":
            if any(part in names for names, _ in _definitions(file)):
                return None  # an attribute that is not a module: a class, perhaps
            siblings = {p.stem for p in folder.glob("*.py")} - {"__init__"}
            siblings |= {p.parent.name for p in folder.glob("*/__init__.py")}
            missing = ".".join(modules[:depth])
            raise TargetError(f"{missing!r} does not exist; {nearest(part, sorted(siblings))}")
        file = found
    return file


def _signature_in(file: Path, name: str, seen: Seen) -> Signature | None:
    if (file, name) in seen:
        return None
    for names, node in _definitions(file):
        if name in names:
            return _signature_of_node(file, name, node, seen | {(file, name)})
    known = frozenset[str]().union(*(names for names, _ in _definitions(file)))
    if known & {"*", "__getattr__"}:
        return None
    module = file.parent.name if file.stem == "__init__" else file.stem
    allowed = sorted(n for n in known if not n.startswith("_"))
    raise TargetError(f"{module} has no {name!r}; {nearest(name, allowed)}")


def _signature_of_node(file: Path, name: str, node: ast.stmt, seen: Seen) -> Signature | None:
    if isinstance(node, ast.FunctionDef):
        return _from_arguments(node.args, skip_first=False) if not node.decorator_list else None
    if isinstance(node, ast.ClassDef):
        return _from_class(file, node, seen)
    if isinstance(node, ast.ImportFrom):
        source = _imported(file, node, name)
        return _signature_in(*source, seen) if source else None
    return None


def _from_class(file: Path, node: ast.ClassDef, seen: Seen) -> Signature | None:
    if node.decorator_list or node.keywords:
        return None  # a dataclass or a metaclass makes its own __init__
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _from_arguments(item.args, skip_first=True)
        if isinstance(item, ast.FunctionDef) and item.name == "__new__":
            return None
    if not node.bases or [ast.unparse(base) for base in node.bases] in (["object"], ["Protocol"]):
        return Signature((), (), takes_any=False)
    first = node.bases[0]
    return _signature_in(file, first.id, seen) if isinstance(first, ast.Name) else None


def _from_arguments(args: ast.arguments, *, skip_first: bool) -> Signature:
    positional = [*args.posonlyargs, *args.args]
    without_default = len(positional) - len(args.defaults)
    pairs: list[tuple[ast.arg, ast.expr | None]] = [
        *((a, None) for a in positional[:without_default]),
        *zip(positional[without_default:], args.defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ][skip_first:]
    return Signature(
        required=tuple(a.arg for a, default in pairs if default is None),
        optional=tuple(a.arg for a, default in pairs if default is not None),
        takes_any=args.kwarg is not None,
        annotations={a.arg: ast.unparse(a.annotation) for a, _ in pairs if a.annotation},
    )


def _imported(file: Path, node: ast.ImportFrom, name: str) -> tuple[Path, str] | None:
    """The file that a name comes from, and what it is called there; None if reading cannot tell."""
    original = next(a.name for a in node.names if (a.asname or a.name) == name)
    modules = node.module.split(".") if node.module else []
    if node.level == 0:
        try:
            source = _module_file(modules)
        except TargetError:
            return None
        return (source, original) if source else None
    path = file.parents[node.level - 1].joinpath(*modules)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next(((found, original) for found in candidates if found.is_file()), None)


@cache
def _definitions(file: Path) -> tuple[tuple[frozenset[str], ast.stmt], ...]:
    """(names, statement) for everything that a module defines at its top level, ifs included."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise TargetError(f"{file}, line {error.lineno}: {error.msg}") from None
    return tuple((frozenset(_names(node)), node) for node in _top_level(tree.body))


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
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Assign):
        yield from (t.id for t in node.targets if isinstance(t, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
