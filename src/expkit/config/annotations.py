"""The types and ranges that the annotations in a source stand for; nothing is imported."""

import ast
import builtins
import collections.abc
import typing
from types import ModuleType, NoneType
from typing import Annotated, Any, Literal

from expkit.config import constraints
from expkit.config.constraints import RANGES, Range
from expkit.config.targets import LIBRARIES, Source, find, is_library, package_of

# The modules whose names mean something in an annotation of a value that a configuration can hold.
KNOWN: dict[str, ModuleType] = {
    "builtins": builtins,
    "typing": typing,
    "typing_extensions": typing,
    "collections.abc": collections.abc,
    constraints.__name__: constraints,
}


class Unreadable(Exception):
    """Only Python can tell, once the module is imported."""


def parameter_kind(source: Source, annotation: ast.expr | None, default: ast.expr | None) -> Any:
    """The type of a parameter; Any if its annotation stands for nothing that a configuration can hold."""
    try:
        kind = _meaning(source, annotation)
    except (TypeError, ValueError, SyntaxError):
        return Any  # it is no annotation for Python either
    is_none = isinstance(default, ast.Constant) and default.value is None
    return kind | None if is_none and kind is not Any else kind


def _meaning(source: Source, node: ast.expr | None) -> Any:
    """What an annotation or a part of it stands for: a type, a range, or Any for everything else."""
    match node:
        case ast.Constant(value=str(text)):
            return _meaning(source, ast.parse(text, mode="eval").body)
        case ast.Constant(value=value):
            return NoneType if value is None else value
        case ast.Name() | ast.Attribute():
            return _named(source, ast.unparse(node))
        case ast.List(elts=parts):  # as in Callable[[int], str]
            return [_meaning(source, part) for part in parts]
        case ast.BinOp(left=left, right=right):
            return _meaning(source, left) | _meaning(source, right)
        case ast.Call():
            return _range(source, node)
        case ast.Subscript():
            return _subscripted(source, node)
    return Any


def _named(source: Source, name: str) -> Any:
    """What a name stands for; a variable stands for its value, wherever it is defined.

    Libraries are not looked at: they are long, and a configuration holds none of their classes.
    """
    name = source.absolute(name)
    package = package_of(name)
    is_near = package in ("expkit", package_of(source.module)) or not is_library(package)
    found = find(name) if is_near and package not in LIBRARIES else None
    if found and isinstance(found[1], ast.Assign | ast.AnnAssign):
        return _meaning(found[0], found[1].value)
    if found and isinstance(found[1], ast.FunctionDef | ast.ClassDef):
        name = f"{found[0].module}.{found[1].name}"
    module, _, last = name.rpartition(".")
    return getattr(KNOWN.get(module), last, Any)


def _subscripted(source: Source, node: ast.Subscript) -> Any:
    origin = _meaning(source, node.value)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if origin is Any:
        return Any
    if origin is Literal:
        return Literal[tuple(map(ast.literal_eval, parts))]
    if origin is Annotated:
        kind = _meaning(source, parts[0])
        notes = [_meaning(source, part) for part in parts[1:] if not isinstance(part, ast.Constant)]
        ranges = [note for note in notes if isinstance(note, Range) or note in RANGES]
        return Annotated[(kind, *ranges)] if ranges else kind
    kinds = [_meaning(source, part) for part in parts]
    return origin[tuple(kinds)] if kinds[1:] else origin[kinds[0]]


def _range(source: Source, node: ast.Call) -> Any:
    """The range that a call makes; Any for a call of something that is not in `constraints`."""
    made_by = _meaning(source, node.func)
    if getattr(made_by, "__module__", None) != constraints.__name__:
        return Any
    try:
        bounds = map(ast.literal_eval, node.args)
        return made_by(*bounds, **{str(k.arg): ast.literal_eval(k.value) for k in node.keywords})
    except (TypeError, ValueError):
        raise Unreadable from None  # a bound that is computed
