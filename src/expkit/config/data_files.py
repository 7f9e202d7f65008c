"""The files that a key such as `data.train_file` names: a file, a folder, a pattern, or a list of these."""

from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

Files = str | list[str]


def files_of(given: str | Sequence[str]) -> list[Path]:
    """All files, in the order of the list; those of a folder or a pattern are sorted by name.

    A name that stands for nothing is returned as it is, so that the caller can say so.
    """
    names = [given] if isinstance(given, str) else given
    return [file for name in names for file in _matching(Path(name))]


def _matching(path: Path) -> Iterator[Path]:
    try:
        path = path.expanduser()
        is_folder = path.is_dir()
    except (OSError, RuntimeError, ValueError):  # no such user, or a name that no file can have
        is_folder = False
    if is_folder:
        yield from sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    elif has_magic(str(path)) and not path.exists():
        found = glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        yield from sorted(map(Path, found)) or [path]
    else:
        yield path
