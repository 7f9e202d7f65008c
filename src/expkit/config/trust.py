"""What a configuration may name as a `_target_`, and what the user has to trust first.

Names are judged before anything is imported, because importing runs code. The rules list the
places where components live. A list of dangerous names would never be complete, because one module leads
to another.
"""

import ast
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from expkit.config.project import project_root
from expkit.config.targets import LIBRARIES, find, mappings_in, package_of
from expkit.terminal.errors import ConfigError, nearest

PACKAGES = ("expkit", *LIBRARIES)
# The components of expkit are the public classes that these packages define, and the functions that return
# what a group of the configuration makes: splits, a schedule, or examples. Other functions write files.
OWN = ("tasks", "metrics", "data", "models", "optim", "backends")
RETURNED = ("Splits", "Splits | Undivided", "LambdaLR", "Iterator[dict[str, Any]]")
CLASSES = ("[A-Z]*",)
SCHEDULES = ("Adafactor", "get_*schedule*")
# Modules of libraries, and which of their names may be made without being trusted.
ALLOWED: dict[str, Sequence[str]] = {
    **dict.fromkeys(("torch.optim", "torch.optim.lr_scheduler", "torch.nn"), CLASSES),
    "transformers": (*SCHEDULES, "*Config", "DataCollator*"),
    "transformers.optimization": SCHEDULES,
    "peft": ("*Config",),
    "datasets": ("Features", "Value", "ClassLabel", "List", "Sequence", "Translation*"),
}
# Nobody can trust these packages: with their functions, a configuration could run anything.
NEVER = {*sys.stdlib_module_names, "hydra", "omegaconf"}
REMOTE_CODE = "trust_remote_code"


def refusal(
    target: str,
    trusted: frozenset[str],
    how: str = "say so on the command line: trusted_modules=[{}], or in the project's pyproject.toml",
) -> str | None:
    """Why `target` may not be used, or None if it may.

    Args:
        trusted: packages, modules or whole targets, beside `trusted_modules()`; a module stands for all in it.
        how: what to do to trust a package, for the message.
    """
    package = package_of(target)
    if package in NEVER:
        return (
            f"{package!r} is not trusted, and trusted_modules cannot change that; "
            "name a class of your own that calls it"
        )
    if is_allowed(target):
        return None
    known = sorted({*trusted, *trusted_modules()})
    if any(target == name or target.startswith(f"{name}.") for name in known):
        return None
    if package not in PACKAGES:
        allowed = nearest(package, (*PACKAGES, *known))
        return f"{package!r} is not trusted; {allowed}; if it is yours, {how.format(package)}"
    return (
        f"{target!r} is not trusted; of {package} {nearest(target, _shown(package))}; "
        f"if you need another part of it, {how.format(package)}"
    )


def is_allowed(target: str) -> bool:
    """Whether it is a component of a package that expkit knows, and nothing else of that package."""
    module, _, name = target.rpartition(".")
    if not name.isidentifier() or name.startswith("_"):
        return False
    if package_of(target) == "expkit":
        return module.partition(".")[2].partition(".")[0] in OWN and _is_own(target)
    return any(fnmatchcase(name, pattern) for pattern in ALLOWED.get(module, ()))


def _is_own(target: str) -> bool:
    """Whether a module of expkit defines it, and does not import it, as a component."""
    found = find(target)
    if found is None or found[0].module != target.rpartition(".")[0]:
        return False
    node = found[1]
    if isinstance(node, ast.FunctionDef):
        return node.returns is not None and ast.unparse(node.returns) in RETURNED
    return isinstance(node, ast.ClassDef)


def _shown(package: str) -> Iterator[str]:
    if package == "expkit":
        yield from (f"expkit.{room}.<Class>" for room in OWN)
    for module, patterns in ALLOWED.items():
        if package_of(module) == package:
            names = [p.replace("[A-Z]*", "<Class>") for p in patterns]
            yield from (f"{module}.{name}" for name in names)


def trusted_by(overrides: Iterable[str], modules: Iterable[str]) -> frozenset[str]:
    """What was trusted on the command line.

    A config file cannot trust anything: it would trust itself. Typing `optimizer._target_=my_pkg.Mine` says
    clearly enough that my_pkg is trusted. Of a package that expkit knows, only that target is trusted.

    Args:
        overrides: what was typed.
        modules: the value of `trusted_modules`, which counts if it was typed.
    """
    typed = dict(map(typed_value, overrides))
    trusted = set(map(str, modules)) if "trusted_modules" in typed else set()
    for key, value in typed.items():
        if key.rpartition(".")[2] == "_target_":
            target = value.strip("\"' ")
            trusted.add(target if package_of(target) in PACKAGES else package_of(target))
    return frozenset(trusted - {""})


def trusted_modules() -> list[str]:
    """What the project's pyproject.toml trusts, as `[tool.expkit] trusted_modules`, unless it is another user's.

    Raises:
        ConfigError: the file is no TOML, or this is no list of names.
    """
    file = project_root() / "pyproject.toml"
    try:
        if os.name == "posix" and os.getuid() not in (0, file.stat().st_uid):
            return []  # anybody can put a file into a folder such as /tmp, which may lie around this one
        whole = tomllib.loads(file.read_text("utf-8-sig")) if file.is_file() else {}
        section = whole.get("tool", {}).get("expkit", {})
        found = section.get("trusted_modules", [])
        if wrong := section.keys() - {"trusted_modules"}:
            raise ValueError(f"{wrong.pop()!r}: no such key; allowed: trusted_modules")
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise ValueError(f"trusted_modules = {found!r}: expected a list of texts")
        if wrong := [name for name in found if not name.replace(".", "").isidentifier()]:
            raise ValueError(
                f"trusted_modules: {wrong[0]!r} is no name of a package, such as my_pkg"
            )
        return found
    except FileNotFoundError:
        return []
    except (OSError, AttributeError, ValueError) as error:
        raise ConfigError(f"{file}: tool.expkit: {error}") from error


def typed_value(override: str) -> tuple[str, str]:
    """The key of an override, without its prefix, and its value."""
    key, _, value = override.strip().partition("=")
    return key.strip().lstrip("+~"), value


def remote_code(node: Any, path: str = "") -> Iterator[str]:
    """The full key of every `trust_remote_code` that is not false."""
    for key, found in mappings_in(node, path):
        if found.get(REMOTE_CODE) not in (False, None):
            yield f"{key}.{REMOTE_CODE}" if key else REMOTE_CODE
