"""Keep a text as it was typed where Hydra and YAML read a number or a switch.

Hydra reads `run_name=2024_05_01` as the number 20240501, and only the composed configuration tells
which keys take a text. So the typed characters are looked up after composition, with Hydra's own
grammar. The characters in a file are gone once YAML has read it, so `problems` refuses such values.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.overrides_visitor import HydraOverrideVisitor
from hydra.core.override_parser.types import QuotedString
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from omegaconf import DictConfig, OmegaConf, StringNode

from expkit.config.schema import sections
from expkit.config.signatures import signature_of
from expkit.config.targets import TargetError, targets_in
from expkit.config.values import names_texts, takes_texts

NO_TEXT = bool | int | float
WITH_VALUES = (
    "choice",
    "shuffle",
    "tag",
)  # functions of Hydra's grammar that return values unchanged
TEXTS_OF_PLUGINS = (
    *("study_name", "storage", "temp_folder", "submitit_folder", "name", "partition", "qos"),
    *("comment", "constraint", "exclude", "gres", "account", "address"),
)  # options of sweepers and launchers that are texts


class TextParser(OverridesParser):
    """Reads overrides as Hydra does, but leaves numbers and switches as the characters typed."""

    def parse_rule(self, s: str, rule_name: str) -> Any:
        """Raises HydraException for what Hydra cannot read."""
        override = super().parse_rule(s, rule_name)
        tree = OverrideParser(CommonTokenStream(OverrideLexer(InputStream(s)))).override()
        override._value = _AsTyped(self.functions).visit(tree)._value
        return override


class Name(str):
    """A name inside of a mapping as it was typed; `read` is what Hydra makes of it."""

    read: Any


class _AsTyped(HydraOverrideVisitor):
    def visitPrimitive(self, ctx: OverrideParser.PrimitiveContext) -> QuotedString | str | None:
        value = super().visitPrimitive(ctx)
        return str(ctx.getText()).strip() if isinstance(value, int | float) else value

    def visitDictKey(self, ctx: OverrideParser.DictKeyContext) -> Name:
        read = super().visitDictKey(ctx)
        name = Name(read if isinstance(read, str) else str(ctx.getText()).strip())
        name.read = read
        return name

    def visitFunction(self, ctx: OverrideParser.FunctionContext) -> Any:
        reader = self if ctx.ID().getText() in WITH_VALUES else HydraOverrideVisitor(self.functions)
        return HydraOverrideVisitor.visitFunction(reader, ctx)


def as_typed(overrides: Sequence[str]) -> list[str]:
    """`hydra.overrides.task` as texts.

    Iterating over the list would resolve `seed=${optimizer.lr}` inside of the list, which has no such key.
    """
    plain: Any = OmegaConf.to_container(overrides, resolve=False)  # it is a ListConfig
    return list(map(str, plain))


def restore(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Put back the typed characters where `cfg` holds a number or a switch for a text, in place."""
    for key, value in _misnamed(cfg).items():
        typed: dict[Name, Any] = {}
        for override in TextParser.create().parse_overrides(list(overrides)):
            if not override.is_sweep_override():
                typed |= dict(_mappings(override.key_or_group, override.value())).get(key, {})
        read = [repr(name.read) for name in typed]
        held = {repr(name): item for name, item in value.items()}  # as NaN is not equal to itself
        found = {
            # What Hydra takes for one name, such as 1 and 1.0, has the value of the last one.
            str(name): held[at] if len(held) == len(typed) else item
            for at, (name, item) in zip(read, typed.items(), strict=True)
            if at in held or len(held) != len(typed)
        }
        rest = {name: item for name, item in value.items() if repr(name) not in read}
        OmegaConf.update(cfg, key, {**found, **rest}, merge=False, force_add=True)
    lost = {key for key, value in _leaves(cfg) if isinstance(value, NO_TEXT)}
    of_hydra = [o for o in overrides if o.lstrip("+").startswith("hydra.")]
    for override in TextParser.create().parse_overrides(list(overrides if lost else of_hydra)):
        if override.is_sweep_override():
            continue
        for key, value in flat(override.key_or_group, override.value()):
            if key in lost or (key.startswith("hydra.") and _is_text_of_hydra(cfg, key)):
                OmegaConf.update(cfg, key, value)


def _is_text_of_hydra(cfg: DictConfig, key: str) -> bool:
    """Hydra's own keys know their types: they have turned a number into a text already."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, section)
    return isinstance(node, DictConfig) and isinstance(node._get_node(name), StringNode)


def problems(cfg: DictConfig) -> Iterator[str]:
    """A message for each number or switch in a file whose key takes a text."""
    for key, value in _misnamed(cfg).items():
        yield (
            f"{key}={value!r}: a name in it takes a text, and YAML has read a number, true or false in the file; "
            "put quotes around it there, as in '1': 2 or 'no': 2"
        )
    leaves = dict(_leaves(cfg))
    params = OmegaConf.select(cfg, "hydra.sweeper.params")
    for name, value in params.items_ex(resolve=False) if params else ():
        if name.lstrip("+") in leaves:
            leaves[f"hydra.sweeper.params.{name}"] = value
    for key, value in leaves.items():
        if isinstance(value, NO_TEXT):
            kind = "true or false" if isinstance(value, bool) else "a number"
            yield (
                f"{key}={value!r}: this key takes a text, and YAML has read {kind} in the file; "
                "put quotes around it there, as in 'no' or '1e-4'"
            )


def _leaves(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """Every value whose key takes a text, or one of several texts, with its full key."""
    for key, value, kind in _values(cfg):
        if takes_texts(kind, several=isinstance(value, list | dict)):
            yield from flat(key, value)


def _misnamed(cfg: DictConfig) -> dict[str, dict[Any, Any]]:
    """The mappings, by their full keys, in which a name is a number or a switch and has to be a text."""
    return {
        key: value
        for key, value, kind in _values(cfg)
        if isinstance(value, dict)
        if names_texts(kind) and not all(isinstance(name, str) for name in value)
    }


def _values(cfg: DictConfig) -> Iterator[tuple[str, Any, Any]]:
    """Every value of a section or a component, with its full key and the type of its key."""
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    components = ((path, node, _kinds(str(node["_target_"]))) for path, node in targets_in(plain))
    for path, node, kinds in (*sections(plain), *components):
        for name, value in node.items() if isinstance(node, dict) else ():
            yield f"{path}.{name}" if path else str(name), value, kinds.get(name)


def _mappings(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every mapping inside of a value, at any depth, with its full key."""
    if isinstance(value, dict):
        yield key, value
        for name, item in value.items():
            yield from _mappings(f"{key}.{name}", item)


def flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value inside of lists and mappings, at any depth, with its full key."""
    if isinstance(value, list | dict):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(f"{key}.{name}", item)
    else:
        yield key, value


def _kinds(target: str) -> Mapping[str, Any]:
    """The types of a component's parameters; empty if its source does not tell them."""
    if target.startswith("hydra_plugins."):
        return dict.fromkeys(TEXTS_OF_PLUGINS, str)
    try:
        signature = signature_of(target)
    except TargetError:  # checks.py reports it
        return {}
    return signature.kinds if signature else {}
