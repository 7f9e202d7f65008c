"""`data=files`: JSON, CSV, Parquet, Arrow, plain text, and columns of words and tags."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable
from omegaconf import DictConfig, OmegaConf

from expkit.config.constraints import above, at_least
from expkit.config.data_files import Files, files_of, kind_of, name_of, problems_of
from expkit.config.fingerprint import as_read, digest_of_content
from expkit.data import arrow_files, conll, csv_files, json_files
from expkit.data.division import Division, Undivided, splits_of
from expkit.data.splits import Split, Splits
from expkit.data.table import Source, table_of
from expkit.data.text_files import lines_of
from expkit.terminal.display import say
from expkit.terminal.errors import DataError


@dataclass(frozen=True)
class Reading:
    """How files are read where a look at them may not be enough; see conf/data/files.yaml."""

    encoding: str | None = None
    csv: Mapping[str, Any] | None = None
    conll: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Reading":
        """The settings in the group `data` of a configuration; other loaders than `files` have none."""
        plain: Any = OmegaConf.to_container(data) if isinstance(data, DictConfig) else data
        return cls(plain.get("encoding"), plain.get("csv"), plain.get("conll"))


def load(
    train_file: Files,
    validation_file: Files | None = None,
    test_file: Files | None = None,
    eval_files: Mapping[str, Files] | None = None,
    max_train_examples: Annotated[int, at_least(1)] | None = None,
    max_eval_examples: Annotated[int, at_least(1)] | None = None,
    encoding: str | None = None,
    csv: Mapping[str, Any] | None = None,
    conll: Mapping[str, Any] | None = None,
    validation_share: Annotated[float, above(0, below=1)] | None = None,
    test_share: Annotated[float, above(0, below=1)] | None = None,
    split_seed: Annotated[int, at_least(0)] = 0,
    group_column: str | None = None,
    split_column: str | None = None,
    folds: Annotated[int, at_least(2)] | None = None,
    fold: Annotated[int, at_least(1)] | None = None,
) -> Splits | Undivided:
    """Read one file for each split, or one that is to be divided.

    Args:
        train_file: a file, a folder, a pattern such as `parts/*.parquet`, or a list of these.
        eval_files: further evaluation sets by name.
        encoding: of text files, such as cp1252; None: UTF-8, or UTF-16 if the file begins with its mark.
        csv: `delimiter` and `quoting` of CSV files, where they are not found by looking.
        conll: its `columns` names the columns in files of words and tags; see `data/conll.py`.

    Raises:
        DataError: a file is empty, damaged, or its records have different columns.
    """
    reading = Reading(encoding, csv, conll)
    return splits_of(
        partial(read, reading=reading),
        train_file,
        validation_file,
        test_file,
        eval_files,
        (max_train_examples, max_eval_examples),
        Division(validation_share, test_share, split_seed, group_column, split_column, folds, fold),
    )


def read(path: Files | Path, limit: int | None = None, reading: Reading | None = None) -> Split:
    """Read the first `limit` examples of a file, or of several, into a split that is named after it.

    Args:
        path: a file, a folder, a pattern such as `parts/*.parquet`, or a list of these.

    Raises:
        DataError: a file cannot be read or is empty, or records have different columns.
    """
    given = str(path) if isinstance(path, Path) else path
    for name, why in problems_of(given):
        raise DataError(f"{name}: {why}")
    how, files = reading or Reading(), files_of(given)
    table, sources = table_of(files, lambda file: READERS[str(kind_of(file))](file, how), limit)
    contents = [as_read(source.file, digest_of_content(source.file)) for source in sources]
    identity = json.dumps([contents, limit, asdict(how)])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    name, shown = name_of(files[0]), str(files[0])
    if len(files) > 1:
        name += f"+{len(files) - 1}"
        shown = given if isinstance(given, str) else ", ".join(given)
    try:
        # Without a fingerprint, datasets would pickle the whole table to compute one.
        rows = Dataset(InMemoryTable(table), fingerprint=digest[:32])
    except (pa.ArrowException, ValueError, TypeError, LookupError, AttributeError) as error:
        text = str(error).partition("\n")[0]
        raise DataError(f"{shown}: cannot be used: {text:.200}") from None
    return Split(rows, name, shown, digest, where=lambda i: _place(sources, i))


def _place(sources: list[Source], index: int) -> str:
    for source in sources:
        if index < len(source.lines):
            return f"{source.file}, {source.unit} {source.lines[index]}"
        index -= len(source.lines)
    raise IndexError(index)


def _conll(file: Path, reading: Reading) -> Source:
    columns = (reading.conll or {}).get("columns")
    return Source(file, "line", conll.records(file, columns, reading.encoding))


def _text(file: Path, reading: Reading) -> Source:
    """Every line is a text; blank lines are skipped. A file of words and tags may be named .txt, too."""
    if (reading.conll or {}).get("columns"):
        return _conll(file, reading)
    if conll.is_tagged(lines_of(file, reading.encoding)):
        say(f"{file}: every line ends with a tag, so the columns are read as words and tags")
        return _conll(file, reading)
    lines = enumerate(lines_of(file, reading.encoding), start=1)
    filled = ((i, {"text": line.rstrip("\n")}) for i, line in lines if line.strip())
    return Source(file, "line", filled)


def _csv(file: Path, reading: Reading) -> Source:
    return Source(file, "line", csv_files.records(file, reading.encoding, reading.csv or {}))


def _jsonl(file: Path, reading: Reading) -> Source:
    located = json_files.one_a_line(file, reading.encoding)
    return Source(file, "line", located, has_optional=True)


READERS: dict[str, Callable[[Path, Reading], Source]] = {
    ".jsonl": _jsonl,
    ".json": lambda file, reading: json_files.source(file, reading.encoding),
    ".csv": _csv,
    ".parquet": lambda file, _: arrow_files.source(file),
    ".arrow": lambda file, _: arrow_files.source(file),
    ".txt": _text,
    ".conll": _conll,
}
