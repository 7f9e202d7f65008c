"""Read from its source what a component accepts: the names, types and ranges of its parameters.

Nothing is imported. Where reading is not enough (several base classes, a bound that is computed, a compiled
module), `signature_of` returns None and the caller may import the module.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from expkit.config.annotations import Unreadable, parameter_kind
from expkit.config.constraints import above, at_least
from expkit.config.targets import Definition, Source, definition_of, find

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


def signature_of(target: str) -> Signature | None:
    """The signature of the class or function that `target` names; None if reading cannot tell.

    Raises:
        TargetError: the module or the name in it does not exist.
    """
    try:
        return _signature(definition_of(target))
    except (Unreadable, RecursionError):  # such as a class that is its own base
        return None


def _signature(found: Definition | None) -> Signature:
    match found:
        case source, ast.FunctionDef(decorator_list=[]) as node:
            return _of_arguments(source, node.args, skip=0)
        case source, ast.ClassDef() as node:
            signature = _of_class(source, node)
            ranges = FOREIGN.get(f"{source.module}.{node.name}", {})
            return replace(signature, kinds={**signature.kinds, **ranges})
    raise Unreadable


def _of_class(source: Source, node: ast.ClassDef) -> Signature:
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    decorators = [_name(source, decorator) for decorator in node.decorator_list]
    if node.keywords or "__new__" in methods or set(decorators) - {DATACLASS}:
        raise Unreadable  # a metaclass or a decorator may make another __init__
    if init := methods.get("__init__"):
        own, call = _of_arguments(source, init.args, skip=1), _handing_on(init)
        try:
            return _joined(own, call, _inherited(source, node)) if call else own
        except Unreadable:
            return own
    inherited = _inherited(source, node)
    if not decorators:
        return inherited
    if not inherited.of_fields:
        raise Unreadable  # the base class has no fields of its own, but its own base class may have some
    return _of_fields(source, node, inherited)


def _inherited(source: Source, node: ast.ClassDef) -> Signature:
    bases = [name for base in node.bases if (name := _name(source, base)) not in NO_BASE]
    if len(bases) > 1:
        raise Unreadable
    return _signature(find(bases[0])) if bases else Signature({}, of_fields=True)


def _of_arguments(source: Source, args: ast.arguments, *, skip: int) -> Signature:
    positional = [*args.posonlyargs, *args.args]
    defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults, *args.kw_defaults]
    pairs = list(zip([*positional, *args.kwonlyargs], defaults, strict=True))[skip:]
    return Signature(
        {a.arg: parameter_kind(source, a.annotation, default) for a, default in pairs},
        tuple(a.arg for a, default in pairs if default is None),
        takes_any=args.kwarg is not None,
    )


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
        kinds[name] = parameter_kind(source, item.annotation, default)
        required = [other for other in required if other != name]
        if default is None:
            required.append(name)
    return Signature(kinds, tuple(required), of_fields=True)


def _name(source: Source, node: ast.expr) -> str:
    """The full name of a class or function that is named, subscripted or called."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    return source.absolute(ast.unparse(node))
