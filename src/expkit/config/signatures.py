"""Read from its source what a component accepts: the names, types and ranges of its parameters.

Nothing is imported. Where reading is not enough (several base classes, a bound that is computed, a compiled
module), `signature_of` returns None and the caller may import the module.
"""

import ast
import builtins
import collections.abc
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType, NoneType
from typing import Annotated, Any, Literal

from expkit.config import constraints
from expkit.config.constraints import Range, above, at_least
from expkit.config.targets import (
    LIBRARIES,
    Definition,
    Source,
    TargetError,
    definition_of,
    is_library,
    package_of,
)

# The modules whose names mean something in an annotation of a value that a configuration can hold.
KNOWN: dict[str, ModuleType] = {
    "builtins": builtins,
    "typing": typing,
    "typing_extensions": typing,
    "collections.abc": collections.abc,
    constraints.__name__: constraints,
}
DATACLASS = "dataclasses.dataclass"
NO_BASE = ("builtins.object", "typing.Protocol", "typing.Generic", "abc.ABC")
Share = Annotated[float, at_least(0, below=1)]
_ADAM = {
    "lr": Annotated[float, above(0)],
    "betas": tuple[Share, Share],
    "eps": Annotated[float, above(0)],
    "weight_decay": Annotated[float, at_least(0)],
}
# Torch refuses some of these values itself, but only after the model has been loaded.
FOREIGN: Mapping[str, Mapping[str, Any]] = {
    "torch.optim.adam.Adam": _ADAM,
    "torch.optim.adamw.AdamW": _ADAM,
    "torch.optim.sgd.SGD": {
        "lr": Annotated[float, above(0)],
        "momentum": Share,
        "weight_decay": Annotated[float, at_least(0)],
    },
}


@dataclass(frozen=True)
class Signature:
    """The parameters of a callable, `self` left out.

    Args:
        kinds: the type of each parameter that can be given by name; Any where none is known.
        required: those without a default value.
        takes_any: other names are accepted as well.
        of_fields: they are the fields of dataclasses, which a dataclass takes over from its base class.
    """

    kinds: Mapping[str, Any]
    required: tuple[str, ...] = ()
    takes_any: bool = False
    of_fields: bool = False


class _Unreadable(Exception):
    """Only Python can tell, once the module is imported."""


def signature_of(target: str) -> Signature | None:
    """The signature of the class or function that `target` names; None if reading cannot tell.

    Raises:
        TargetError: the module or the name in it does not exist.
    """
    try:
        return _signature(definition_of(target))
    except (_Unreadable, RecursionError):  # such as a class that is its own base
        return None


def _signature(found: Definition | None) -> Signature:
    match found:
        case source, ast.FunctionDef(decorator_list=[]) as node:
            return _of_arguments(source, node.args, skip=0)
        case source, ast.ClassDef() as node:
            signature = _of_class(source, node)
            ranges = FOREIGN.get(f"{source.module}.{node.name}", {})
            return replace(signature, kinds={**signature.kinds, **ranges})
    raise _Unreadable


def _of_class(source: Source, node: ast.ClassDef) -> Signature:
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    decorators = [_name(source, decorator) for decorator in node.decorator_list]
    if node.keywords or "__new__" in methods or set(decorators) - {DATACLASS}:
        raise _Unreadable  # a metaclass or a decorator may make another __init__
    if init := methods.get("__init__"):
        own, call = _of_arguments(source, init.args, skip=1), _handing_on(init)
        try:
            return _joined(own, call, _inherited(source, node)) if call else own
        except _Unreadable:
            return own
    inherited = _inherited(source, node)
    if not decorators:
        return inherited
    if not inherited.of_fields:
        raise _Unreadable  # the base class has no fields of its own, but its own base class may have some
    return _of_fields(source, node, inherited)


def _inherited(source: Source, node: ast.ClassDef) -> Signature:
    bases = [name for base in node.bases if (name := _name(source, base)) not in NO_BASE]
    if len(bases) > 1:
        raise _Unreadable
    return _signature(_found(bases[0])) if bases else Signature({}, of_fields=True)


def _of_arguments(source: Source, args: ast.arguments, *, skip: int) -> Signature:
    positional = [*args.posonlyargs, *args.args]
    defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults, *args.kw_defaults]
    pairs = list(zip([*positional, *args.kwonlyargs], defaults, strict=True))[skip:]
    return Signature(
        {a.arg: _parameter(source, a.annotation, default) for a, default in pairs},
        tuple(a.arg for a, default in pairs if default is None),
        takes_any=args.kwarg is not None,
    )


def _found(name: str) -> Definition | None:
    try:
        return definition_of(name)
    except TargetError:
        return None  # only Python can find it


def _handing_on(init: ast.FunctionDef) -> ast.Call | None:
    """The call of `super().__init__` that gets `**kwargs`, if they are used for nothing else."""
    name = init.args.kwarg and init.args.kwarg.arg
    nodes = list(ast.walk(init))
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == name]
    for node in nodes if uses else ():
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "super().__init__"
            and not any(isinstance(argument, ast.Starred) for argument in node.args)
            and [k.value for k in node.keywords if k.arg is None] == uses
        ):
            return node
    return None


def _joined(own: Signature, call: ast.Call, base: Signature) -> Signature:
    """The parameters of a class and those that it leaves to its base class."""
    given = {*(k.arg for k in call.keywords), *list(base.kinds)[: len(call.args)], *own.kinds}
    left = {name: kind for name, kind in base.kinds.items() if name not in given}
    required = (*own.required, *(name for name in base.required if name in left))
    return Signature({**own.kinds, **left}, required, base.takes_any)


def _of_fields(source: Source, node: ast.ClassDef, base: Signature) -> Signature:
    """The parameters of the `__init__` that `dataclass` makes."""
    kinds, required = dict(base.kinds), [*base.required]
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if _name(source, item.annotation) in ("typing.ClassVar", "dataclasses.KW_ONLY"):
            continue
        name, default = item.target.id, item.value
        if isinstance(default, ast.Call) and _name(source, default) == "dataclasses.field":
            options = {k.arg: k.value for k in default.keywords}
            if ast.unparse(options.get("init", default)) == "False":
                continue
            default = options.get("default", options.get("default_factory"))
        kinds[name] = _parameter(source, item.annotation, default)
        required = [other for other in required if other != name]
        if default is None:
            required.append(name)
    return Signature(kinds, tuple(required), of_fields=True)


def _name(source: Source, node: ast.expr) -> str:
    """The full name of a class or function that is named, subscripted or called."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    return source.absolute(ast.unparse(node))


def _parameter(source: Source, annotation: ast.expr | None, default: ast.expr | None) -> Any:
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
    found = _found(name) if is_near and package not in LIBRARIES else None
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
        ranges = [note for note in notes if isinstance(note, Range)]
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
        raise _Unreadable from None  # a bound that is computed
