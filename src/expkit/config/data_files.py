"""The files that a key such as `data.train_file` names: a file, a folder, a pattern, or a list of these."""

from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from expkit.terminal.errors import nearest

Files = str | list[str]

# The kind of a file by the end of its name. More than one end may stand for the same kind.
KINDS = {
    **{end: end for end in (".jsonl", ".json", ".csv", ".parquet", ".txt", ".conll", ".arrow")},
    ".ndjson": ".jsonl",
    ".tsv": ".csv",
    ".feather": ".arrow",
    **dict.fromkeys((".conllu", ".bio", ".iob", ".iob2", ".bioes", ".bmes"), ".conll"),
}
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def kind_of(file: Path) -> str | None:
    """The kind of a data file, a value of KINDS; None if its name does not say it."""
    return KINDS.get(_uncompressed(file).suffix.lower())


def compression_of(file: Path) -> str | None:
    """How a file is compressed: `gzip`, `bz2`, `zstd` or None."""
    return COMPRESSED.get(file.suffix.lower())


def name_of(file: Path) -> str:
    """The name of a file without its ends, such as `train` for `data/train.csv.gz`."""
    return _uncompressed(file).stem


def _uncompressed(file: Path) -> Path:
    return file.with_suffix("") if compression_of(file) else file


def files_of(given: str | Sequence[str]) -> list[Path]:
    """All files, in the order of the list; those of a folder or a pattern are sorted by name.

    A name that stands for nothing is returned as it is, so that the caller can say so.
    """
    return [file for name in _names(given) for file in _matching(Path(name))]


def _names(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given


def _matching(path: Path) -> list[Path]:
    if unusable(path):
        return [path]
    path = path.expanduser()
    if path.is_dir():
        return sorted(filter(_is_data, path.iterdir()))
    if path.exists() or not has_magic(str(path)):
        return [path]
    found = glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(file for file in map(Path, found) if not file.is_dir()) or [path]


def _is_data(file: Path) -> bool:
    """Hidden files are no data, nor are those by which Spark says that a folder is complete."""
    is_mark = file.name.startswith("_") and kind_of(file) is None
    return not file.name.startswith(".") and not is_mark


def problems_of(given: str | Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name that stands for no data, or the first such file behind it, and what is wrong."""
    names = _names(given)
    if not names or "" in names:
        yield str(given), "names no file"
        return
    for name in names:
        files = _matching(Path(name))
        if not files:
            yield name, "is a folder without files"
        for file in files:
            if why := _unreadable(file, files[0]):
                yield name if len(files) == 1 else str(file), why
                break


def _unreadable(file: Path, first: Path) -> str | None:
    """Why a file and the first one of its folder or pattern cannot be one split; None if they can."""
    if why := unusable(file):
        return why
    if file.is_dir():
        return f"is a folder among files; '{file.parent}/**/*.csv' names all files in it"
    if kind_of(file) is None and (file.exists() or not has_magic(str(file))):
        behind = ", ".join(COMPRESSED)
        return f"unknown kind of file; {nearest(file.suffix, KINDS)}; {behind} may follow"
    if not file.is_file():
        beside = sorted(other.name for other in file.parent.glob("*") if kind_of(other))
        return "no such file" + (f"; in {file.parent}: {nearest(file.name, beside)}" * bool(beside))
    if kind_of(file) != kind_of(first):
        advice = f"name files of one kind by a pattern, such as '{file.parent}/*{first.suffix}'"
        return f"is of another kind than {first.name}; {advice}"
    return None


def unusable(path: Path) -> str | None:
    """Why nothing can be at `path`, such as a name that is too long; None if there may be something."""
    try:
        path.expanduser().stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
