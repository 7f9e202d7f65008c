"""Check a value of the configuration against the type that a signature gives to its key."""

from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from expkit.config.constraints import RANGES, Range
from expkit.terminal.errors import nearest

LISTS = (list, Sequence, Iterable, Collection)
MAPPINGS = (dict, Mapping, MutableMapping)
UNIONS = (Union, UnionType)
WORDS = dict.fromkeys(("true", "yes", "on", "y", "1"), True)
WORDS |= dict.fromkeys(("false", "no", "off", "n", "0"), False)
NAMES: dict[Any, str] = {
    **dict.fromkeys((*LISTS, tuple), "a list"),
    **dict.fromkeys(MAPPINGS, "a mapping"),
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    NoneType: "null",
}
SEVERAL = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}


class Unfit(Exception):
    """A value that its key does not take; the message says what the key takes."""


class _OtherType(Unfit):
    """Raised deep inside of a type; `fitted` then names the whole type in its message."""


def fitted(value: Any, kind: Any) -> Any:
    """`value` converted to its type: an environment variable, for example, gives a number as a text.

    Args:
        kind: what an annotation stands for. A class that no configuration can hold is not judged.

    Raises:
        Unfit: the value has another type, is out of range, or is no allowed choice.
    """
    try:
        return _as(kind, value)
    except _OtherType:
        raise Unfit(f"expected {described(kind)}") from None


def _as(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return _within(arguments[1:], _as(arguments[0], value))
    if origin in UNIONS:
        return _as_one_of(arguments, value)
    if origin is Literal:
        if not any(type(choice) is type(value) and choice == value for choice in arguments):
            raise Unfit(nearest(value, arguments))
        return value
    if origin in (bool, int, float, str, NoneType):
        return _plain(origin, value)
    if origin in MAPPINGS:
        if not isinstance(value, dict):
            raise _OtherType
        inner = arguments[1] if arguments else Any
        return {key: _as(inner, item) for key, item in value.items()}
    if origin in LISTS or origin is tuple:
        if not isinstance(value, list):
            raise _OtherType
        kinds = list(arguments) if origin is tuple and arguments else [*arguments[:1], ...]
        if kinds[-1] is ...:
            kinds = [kinds[0] if kinds[1:] else Any] * len(value)
        if len(kinds) != len(value):
            raise _OtherType
        return [_as(inner, item) for inner, item in zip(kinds, value, strict=True)]
    return value


def _within(rules: Iterable[Any], value: Any) -> Any:
    for rule in rules:
        if rule in RANGES:
            raise Unfit(f"its type says {rule.__name__} without a bound; write {rule.__name__}(1)")
        if not isinstance(rule, Range) or value is None:
            continue
        if not isinstance(value, int | float):
            raise Unfit("its type has a range, and ranges are for numbers alone")
        if why := rule.violated_by(value):
            raise Unfit(f"must be {why}")
    return value


def _as_one_of(kinds: Sequence[Any], value: Any) -> Any:
    """The value in the first type that leaves it unchanged, else in the first that can convert it."""
    if value is None and NoneType in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not NoneType]
    if len(kinds) == 1:
        return _as(kinds[0], value)
    possible, why = [], None
    for kind in kinds:
        try:
            possible.append(_as(kind, value))
        except _OtherType:
            pass
        except Unfit as error:
            why = why or (None if get_origin(kind) is Literal else error)
    if possible:
        return next((made for made in possible if type(made) is type(value)), possible[0])
    raise why or _OtherType


def _plain(kind: type, value: Any) -> Any:
    """Convert as OmegaConf does, except that only the numbers 0 and 1 become true or false."""
    if kind is bool and isinstance(value, bool | int | str):
        word = str(value).lower()
        if word in WORDS:
            return WORDS[word]
    elif kind is str and isinstance(value, bool | int | float | str):
        return str(value)
    elif kind in (int, float) and type(value) in (int, str, kind):
        try:
            return kind(value)
        except (ValueError, OverflowError):
            pass
    raise _OtherType


def described(kind: Any) -> str:
    """A type in words, such as "a whole number or null"."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return described(arguments[0])
    if origin in UNIONS:
        return " or ".join(map(described, arguments))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    items = [_bare(item) for item in arguments if item is not ...]
    if origin is tuple and items == [float, float]:
        return "two numbers, such as [0.9,0.999]"
    words = NAMES.get(origin, getattr(origin, "__name__", str(origin)))
    if items and items[-1] in SEVERAL:
        link = "to" if origin in MAPPINGS else "of"
        words = f"{words} {link} {SEVERAL[items[-1]]}"
    return f"{words}, such as [a,b]" if words == "a list of texts" else words


def takes_texts(kind: Any, *, several: bool) -> bool:
    """Whether a key takes texts only; with `several`, whether it takes a list or a mapping of texts only."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return takes_texts(arguments[0], several=several)
    if origin in UNIONS:
        kinds = [k for k in arguments if k is not NoneType and _is_several(k) == several]
        return bool(kinds) and all(takes_texts(kind, several=several) for kind in kinds)
    if several:
        items = arguments[1:] if origin in MAPPINGS else arguments
        is_known = origin in (*LISTS, *MAPPINGS, tuple) and items
        return bool(is_known) and all(i is ... or takes_texts(i, several=False) for i in items)
    return origin is str or (
        origin is Literal and all(isinstance(choice, str) for choice in arguments)
    )


def names_texts(kind: Any) -> bool:
    """Whether a key may take a mapping whose names are texts."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin in UNIONS:
        return any(map(names_texts, arguments))
    return origin in MAPPINGS and arguments[:1] == (str,)


def _is_several(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (*LISTS, *MAPPINGS, tuple)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
