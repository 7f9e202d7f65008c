"""`data=files`: JSON Lines, JSON, CSV, Parquet, plain text, and columns of words and tags."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset
from datasets.table import InMemoryTable

from expkit.config.constraints import above, at_least
from expkit.config.data_files import Files
from expkit.config.fingerprint import as_read, digest_of_content
from expkit.data import conll
from expkit.data.division import Division, Undivided
from expkit.data.splits import CHUNK, Record, Split, Splits
from expkit.data.table import Located, is_encodable, shown, table_of
from expkit.terminal.errors import DataError

LONGEST_CELL = 2**31 - 1  # characters; Python's csv module would stop at 131,072
UNIT = {".json": "record", ".parquet": "record"}  # places in other files are lines


@dataclass(frozen=True)
class Reading:
    """How files are read where a look at them may not be enough; see conf/data/files.yaml."""

    encoding: str | None = None
    csv: Mapping[str, Any] | None = None
    conll: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Reading":
        """The settings in the group `data` of a configuration; other loaders than `files` have none."""
        return cls(data.get("encoding"), data.get("csv"), data.get("conll"))


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
    most = max_train_examples, max_eval_examples
    test = read(test_file, most[1], reading) if test_file else None
    further = {name: read(f, most[1], reading) for name, f in (eval_files or {}).items()}
    if validation_file:
        train = read(train_file, most[0], reading)
        return Splits(train, read(validation_file, most[1], reading), test, further)
    division = Division(
        validation_share, test_share, split_seed, group_column, split_column, folds, fold
    )
    return Undivided(read(train_file, None, reading), division, test, further, most)


def read(path: Files | Path, limit: int | None = None, reading: Reading | None = None) -> Split:
    """Read the examples of one file into a split that is named after the file."""
    columns = (reading.conll or {}).get("columns") if reading else None
    assert not isinstance(path, list)
    file = Path(path).expanduser()
    unit = UNIT.get(file.suffix, "line")
    try:
        reader = READERS[file.suffix]
        located = reader(file, columns) if reader is conll.records else reader(file)
        table, lines = table_of(file, unit, islice(located, limit))
        identity = [as_read(file, digest_of_content(file)), limit, list(columns or ())]
        if file.suffix == ".parquet":  # where `datasets` keeps the names of class labels
            table = table.replace_schema_metadata(pyarrow.parquet.read_schema(file).metadata)
    except UnicodeDecodeError:
        raise _not_utf8(file) from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    try:
        # Without a fingerprint, datasets would pickle the whole table to compute one.
        rows = Dataset(InMemoryTable(table), fingerprint=digest[:32])
    except (pa.ArrowException, ValueError, TypeError, LookupError, AttributeError) as error:
        text = str(error).partition("\n")[0]
        raise DataError(f"{file}: cannot be used: {text:.200}") from None
    return Split(rows, file.stem, str(file), digest, where=lambda i: f"{file}, {unit} {lines[i]}")


def _not_utf8(file: Path) -> DataError:
    """An error that names the line, which a UnicodeDecodeError does not know."""
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        wrong = (number for number, line in enumerate(lines, 1) if not is_encodable(line))
        return DataError(f"{file}, line {next(wrong, 1)}: not UTF-8 text")


def _jsonl(file: Path) -> Located:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _mapping(file, f"line {number}", _parsed(file, line, number))


def _parsed(file: Path, text: str, line: int = 0) -> Any:
    """Parse JSON text: line `line` of the file, or the whole file if `line` is 0."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")
        raise DataError(
            f"{file}, line {line or error.lineno}: not JSON: {reason} (column {error.colno}); "
            f"starts {text[:60]!r}"
        ) from None
    except (ValueError, RecursionError):
        place = f"{file}, line {line}" if line else file
        raise DataError(
            f"{place}: a number has more digits than Python reads, or lists are nested too deeply; "
            f"starts {text[:60]!r}"
        ) from None


def _mapping(file: Path, place: str, value: object) -> Record:
    if not isinstance(value, dict):
        raise DataError(
            f'{file}, {place}: expected an object such as {{"text": …}}, got {shown(value)}'
        )
    return value


def _json(file: Path) -> Located:
    values = _parsed(file, file.read_text(encoding="utf-8-sig"))
    if isinstance(values, dict) and isinstance(values.get("data"), list):
        values = values["data"]
    if not isinstance(values, list):
        raise DataError(f'{file}: expected a list of objects, or {{"data": [...]}}')
    for number, value in enumerate(values, start=1):
        yield number, _mapping(file, f"record {number}", value)


def _csv(file: Path) -> Located:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = _csv_rows(file, stream)
        line, names = next(rows, (0, []))
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(f"{file}, line {line}: two columns have the name {twice[0]!r:.60}")
        for line, row in rows:
            if len(row) != len(names):
                raise DataError(
                    f"{file}, line {line}: expected {len(names)} columns "
                    f"({', '.join(names):.200}), found {'more' if len(row) > len(names) else 'fewer'}"
                )
            yield line, dict(zip(names, row, strict=True))


def _csv_rows(file: Path, stream: TextIO) -> Iterator[tuple[int, list[str]]]:
    """All rows but blank ones, each with the number of the line on which it begins."""
    csv.field_size_limit(LONGEST_CELL)
    rows = csv.reader(stream, strict=True)
    line = 1
    try:
        for row in rows:
            if row:
                yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"{file}, line {line}: not CSV: {error}") from None


def _parquet(file: Path) -> Located:
    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            batches = parquet.iter_batches(CHUNK)
            records = (record for batch in batches for record in batch.to_pylist())
            yield from enumerate(records, start=1)
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk is at fault, not the content of the file
        text = str(error).strip().partition("\n")[0]
        raise DataError(f"{file}: not Parquet: {text}") from None


def _text(file: Path) -> Located:
    """Every line is a text; blank lines are skipped."""
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if text := line.strip():
                yield number, {"text": text}


READERS: dict[str, Callable[..., Located]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".txt": _text,
    **dict.fromkeys((".conll", ".bio", ".iob"), conll.records),
}
