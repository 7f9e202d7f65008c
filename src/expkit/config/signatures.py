"""Read from its source what a component accepts: the names, types and ranges of its parameters.

Nothing is imported. Where reading is not enough (a name that is made at run time, a compiled module),
`signature_of` says so and the caller may import the module.
"""

import ast
import builtins
import collections.abc
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType, NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from expkit.config import constraints
from expkit.config.constraints import Range, above, at_least
from expkit.config.targets import (
    LIBRARIES,
    Source,
    TargetError,
    definition_of,
    is_library,
    package_of,
)
from expkit.config.values import UNIONS

# Modules whose names stand for types that a configuration can hold.
TYPES: dict[str, ModuleType] = {
    "builtins": builtins,
    "typing": typing,
    "typing_extensions": typing,
    "collections.abc": collections.abc,
}
MOST_IMPORTS = 20  # on the way of a name from module to module; more of them are a cycle
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
    "torch.optim.Adam": _ADAM,
    "torch.optim.AdamW": _ADAM,
    "torch.optim.SGD": {
        "lr": Annotated[float, above(0)],
        "momentum": Share,
        "weight_decay": Annotated[float, at_least(0)],
    },
}


class _WrongRange(TargetError):
    def __init__(self, source: Source, node: ast.expr, why: str) -> None:
        super().__init__(f"{source.file}, line {node.lineno}: {ast.unparse(node)}: {why}")


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


def signature_of(target: str) -> Signature | None:
    """The signature of the class or function that `target` names; None if reading cannot tell.

    Raises:
        TargetError: the module or the name in it does not exist, or a range in it cannot be read.
    """
    try:
        return _signature(target, frozenset())
    except RecursionError:
        return None  # a variable whose value is made from itself


def _signature(target: str, seen: frozenset[str]) -> Signature | None:
    found = definition_of(target) if target not in seen else None
    if found is None:
        return None
    source, node = found
    seen |= {target}
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return _of_arguments(source, node.args, skip=0)
    signature = None
    if isinstance(node, ast.ClassDef):
        signature = _of_class(source, node, seen)
    elif isinstance(node, ast.ImportFrom):
        signature = _elsewhere(source.absolute(target.rpartition(".")[2]), seen)
    if signature and (ranges := FOREIGN.get(target)):
        return replace(signature, kinds={**signature.kinds, **ranges})
    return signature


def _elsewhere(target: str, seen: frozenset[str]) -> Signature | None:
    """The signature of what is imported or inherited; None also if only Python can find it."""
    try:
        return _signature(target, seen)
    except _WrongRange:
        raise
    except TargetError:
        return None


def _of_class(source: Source, node: ast.ClassDef, seen: frozenset[str]) -> Signature | None:
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    decorators = [_name(source, decorator) for decorator in node.decorator_list]
    if node.keywords or "__new__" in methods or set(decorators) - {DATACLASS}:
        return None  # a metaclass or a decorator may make another __init__
    init = methods.get("__init__")
    own = _of_arguments(source, init.args, skip=1) if init else None
    call = _handing_on(init) if init else None
    if own and not call:
        return own
    names = (_name(source, base) for base in node.bases)
    bases = [name for name in names if name not in NO_BASE]
    inherited: Signature | None = Signature({}, of_fields=True)
    if bases:
        inherited = _elsewhere(bases[0], seen) if len(bases) == 1 else None
    if own and call:
        return _joined(own, call, inherited) if inherited else own
    if not decorators or inherited is None:
        return inherited
    # A base class that is none would leave no fields, but it may hide another one that is.
    return _of_fields(source, node, inherited) if inherited.of_fields else None


def _of_arguments(source: Source, args: ast.arguments, *, skip: int) -> Signature:
    positional = [*args.posonlyargs, *args.args]
    defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults, *args.kw_defaults]
    pairs = list(zip([*positional, *args.kwonlyargs], defaults, strict=True))[skip:]
    return Signature(
        {a.arg: _parameter(source, a.annotation, default) for a, default in pairs},
        tuple(a.arg for a, default in pairs if default is None),
        takes_any=args.kwarg is not None,
    )


def _handing_on(init: ast.FunctionDef) -> ast.Call | None:
    """The call of `super().__init__` that gets `**kwargs`, if they are used for nothing else."""
    if init.args.kwarg is None:
        return None
    name = init.args.kwarg.arg
    nodes = list(ast.walk(init))
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == name]
    calls = [
        node
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "super().__init__"
        and not any(isinstance(argument, ast.Starred) for argument in node.args)
        and [k.value for k in node.keywords if k.arg is None] == uses
    ]
    return calls[0] if len(calls) == len(uses) == 1 else None


def _joined(own: Signature, call: ast.Call, base: Signature) -> Signature:
    """The parameters of a class and those that it leaves to its base class.

    A parameter without an annotation that becomes one of the base class has the type that it has there.
    """
    given = {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}
    given |= dict(zip(base.kinds, map(ast.unparse, call.args), strict=False))
    left = {name: kind for name, kind in base.kinds.items() if name not in (*given, *own.kinds)}
    same = {name: base.kinds[there] for there, name in given.items() if there in base.kinds}
    kinds = {name: same.get(name, Any) if kind is Any else kind for name, kind in own.kinds.items()}
    required = (*own.required, *(name for name in base.required if name in left))
    return Signature({**kinds, **left}, required, base.takes_any)


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
    if annotation is None:
        return Any
    kind = _kind(source, annotation)
    is_none = isinstance(default, ast.Constant) and default.value is None
    return kind | None if is_none and kind is not Any else kind


def _kind(source: Source, node: ast.expr) -> Any:
    """The type that an annotation stands for; Any instead of a class that no configuration can hold.

    Raises:
        TargetError: a range has other arguments than literals, or is that of no number.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _kind(source, ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return Any
    if isinstance(node, ast.Constant):
        return NoneType if node.value is None else node.value
    if isinstance(node, ast.Name | ast.Attribute):
        meaning = _meaning(source, node)
        return _builtin(meaning) if isinstance(meaning, str) else _kind(*meaning)
    try:
        if isinstance(node, ast.BinOp):
            return _kind(source, node.left) | _kind(source, node.right)
        if not isinstance(node, ast.Subscript):
            return Any
        origin = _kind(source, node.value)
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if origin is Literal:
            return Literal[tuple(map(ast.literal_eval, arguments))]
        if origin is Annotated:
            kind = _kind(source, arguments[0])
            ranges = [made for a in arguments[1:] if (made := _range(source, a))]
            if ranges and not _is_number(kind):
                raise _WrongRange(source, node, "a range is for numbers alone")
            return Annotated[(kind, *ranges)] if ranges else kind
        kinds = [_kind(source, argument) for argument in arguments]
        return origin[tuple(kinds)] if kinds[1:] else origin[kinds[0]]
    except (TypeError, ValueError):
        return Any  # such as Callable[[int], str]


def _is_number(kind: Any) -> bool:
    if get_origin(kind) in (*UNIONS, Annotated):
        return any(map(_is_number, get_args(kind)))
    return kind in (int, float, Any)


def _builtin(name: str) -> Any:
    """A type of Python's own by its full name; Any for others."""
    module, _, last = name.rpartition(".")
    found = getattr(TYPES.get(module), last, Any)
    return found if module != "builtins" or isinstance(found, type) else Any


def _meaning(source: Source, node: ast.expr) -> str | tuple[Source, ast.expr]:
    """The full name of the class or function that is named; of a variable, its value and where it stands."""
    name = source.absolute(ast.unparse(node))
    for _ in range(MOST_IMPORTS):
        module, _, last = name.rpartition(".")
        if module in (*TYPES, constraints.__name__) or not _is_read(name, source):
            break
        try:
            found = definition_of(name)
        except TargetError:
            break
        if found and isinstance(found[1], ast.Assign | ast.AnnAssign) and found[1].value:
            return found[0], found[1].value
        if not found or not isinstance(found[1], ast.ImportFrom):
            break
        name = found[0].absolute(last)
    return name


def _is_read(name: str, source: Source) -> bool:
    """Whether `name` may stand for a type of expkit's or of the user's; reading libraries takes long."""
    package = package_of(name)
    is_near = package in ("expkit", package_of(source.module)) or not is_library(package)
    return is_near and package not in LIBRARIES


def _range(source: Source, node: ast.expr) -> Range | None:
    """The range that a part of `Annotated` makes; None for a part that is meant for another library."""
    named = node.func if isinstance(node, ast.Call) else node
    if not isinstance(named, ast.Name | ast.Attribute):
        return None
    meaning = _meaning(source, named)
    if not isinstance(meaning, str):
        return None if isinstance(node, ast.Call) else _range(*meaning)
    module, _, last = meaning.rpartition(".")
    if module != constraints.__name__ or not isinstance(node, ast.Call):
        return None
    try:
        bounds = map(ast.literal_eval, node.args)
        named_bounds = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        made = getattr(constraints, last)(*bounds, **named_bounds)
    except (ValueError, TypeError, AttributeError):
        made = None
    if not isinstance(made, Range):
        why = (
            "its bounds have to be literals, as in at_least(4), because the module is not imported"
        )
        raise _WrongRange(source, node, why)
    return made
