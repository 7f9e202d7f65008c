"""Identify an experiment by what decides its result: its configuration, its data and its source.

The idea is that of Dora's signature (https://github.com/facebookresearch/dora), but taken from the
resolved configuration instead of the overrides, so that it does not matter where a value was set.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from expkit.config import glue
from expkit.config.data_files import Files, files_of, kind_of
from expkit.config.targets import (
    LIBRARIES,
    Source,
    TargetError,
    definitions,
    is_library,
    module_file,
    package_of,
    targets_in,
    tree_of,
)
from expkit.config.trust import OWN

# Keys that cannot change the result of a run.
IRRELEVANT = (
    *("tracking", "run_name", "dry_run", "resume", "sweep", "checkpoint", "trusted_modules"),
    "launch",  # counts by the global batch, see below
    "demo",  # data holds what is taken from it
)
# Of a source: the spec of its module once that is imported, and the digest.
_of_source: dict[Path, tuple[Any, str]] = {}


def fingerprint(config: Mapping[str, Any]) -> str:
    """32 hexadecimal digits, the same for experiments that must have the same result.

    Args:
        config: resolved, with every value in the type of its key.
    """
    return digest_of_values(identity_of(config))


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the result. Files and checkpoint folders count by their content, not their name."""
    relevant = {key: value for key, value in config.items() if key not in IRRELEVANT}
    data, model = dict(relevant["data"]), dict(relevant["model"])
    for key, value in data.items():
        if key.endswith("_file") and value is not None:
            data[key] = digest_of_files(value)
        elif key == "eval_files" and value is not None:
            data[key] = {name: digest_of_files(files) for name, files in value.items()}
    if of_glue := glue.files_in(data):
        data["path"] = {name: digest_of_files(str(file)) for name, file in of_glue.items()}
    folder = Path(str(model.get("path", ""))).expanduser()
    if model.get("path") and folder.is_dir():
        model["path"] = digest_of(folder)
    # Two processes do what one does with twice the accumulation.
    train = dict(relevant["train"])
    batches = train.pop("accumulation") * config["launch"]["processes"]
    relevant["train"] = {**train, "accumulation x launch.processes": batches}
    made_of = {"expkit": version("expkit"), "source": sources(relevant)}
    return {**relevant, "data": data, "model": model, **made_of}


def without_length(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the result of an experiment, except for the number of its steps."""
    rest = {k: v for k, v in identity["train"].items() if k not in ("epochs", "max_steps")}
    return {**identity, "train": rest}


def sources(config: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each module that the components of a configuration are made of, by its name.

    These are the modules that targets name and all that they import, except for libraries. Of expkit's own
    modules only those that define components count; the version of expkit stands for the others.
    """
    names = [str(node["_target_"]).rpartition(".")[0] for _, node in targets_in(config)]
    modules = [name for name in names if package_of(name) not in LIBRARIES]
    found: dict[str, str] = {}
    while modules:
        name = modules.pop()
        file = _file_of(name)
        if file is None or name in found:
            continue
        found[name] = _digest_of_source(name, file)
        for module in {name.rpartition(".")[0], *_imports(Source(name, file))}:
            package, _, rest = module.partition(".")
            is_own = package == "expkit" and rest.partition(".")[0] in OWN
            if is_own or (package not in ("", "expkit") and not is_library(package)):
                modules.append(module)
    return found


@cache
def _imports(source: Source) -> frozenset[str]:
    """The names in the import statements of a module; each may be a module or something in one."""
    try:
        nodes = ast.walk(tree_of(source.file))
    except TargetError:
        return frozenset()  # importing it says what is wrong with it
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = source.imported_from(node)
            found.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
    return frozenset(found)


def _file_of(module: str) -> Path | None:
    try:
        return module_file(module.split("."))
    except TargetError:
        return None  # what is imported from a module may be a class


def _digest_of_source(name: str, file: Path) -> str:
    """The digest before the module was imported, which does not change any more unless it is imported again."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    before, digest = _of_source.get(file, (None, ""))
    if not digest or (before and spec is not before):
        digest = digest_of_content(file)
    _of_source[file] = spec, digest
    return digest


def forget(file: Path) -> None:
    """Compute the digest of a source again, because its module will be imported again."""
    _of_source.pop(file, None)


def read_again() -> None:
    """Read sources again, which may have been edited since they were read."""
    for function in (_imports, definitions, tree_of):
        function.cache_clear()


def digest_of_files(given: Files) -> str:
    """What decides the records of data files, apart from options, in their order."""
    parts = [as_read(file, digest_of(file)) for file in files_of(given)]
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def as_read(file: Path, content: str) -> str:
    """What decides the records of a data file, apart from options: its content, and its kind."""
    return f"{content}{kind_of(file)}"


def digest_of_values(values: Mapping[str, Any]) -> str:
    """32 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def differences(then: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """A line for each key whose value is not the same."""
    lines = []
    for key in dict.fromkeys([*then, *now]):
        name = f"{path}.{key}" if path else key
        old, new = (side.get(key, "not there") for side in (then, now))
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, name)
        elif json.dumps(old) != json.dumps(new):
            lines.append(f"{name}: {old!r} then, {new!r} now")
    return lines


def digest_of(path: Path, pattern: str = "*") -> str:
    """The digest of a file's content, or of the names and contents of the files in a folder.

    A file that has neither changed its size nor its time is not read again.
    """
    if path.is_file():
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)
    files = sorted(file for file in path.rglob(pattern) if file.is_file())
    parts = [f"{file.relative_to(path)} {digest_of(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _digest(file: Path, size: int, changed: int) -> str:
    return digest_of_content(file)


def digest_of_content(file: Path) -> str:
    """The digest of a file's content; every call reads the file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
