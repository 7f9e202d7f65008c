"""`data=files`: JSON Lines, JSON, CSV, Parquet, plain text, and columns of words and tags."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset
from datasets.table import InMemoryTable

from expkit.config.constraints import at_least
from expkit.config.fingerprint import as_read, digest_of_content
from expkit.data import conll
from expkit.data.splits import CHUNK, Record, Split, Splits
from expkit.data.table import Located, is_encodable, shown, table_of
from expkit.terminal.errors import DataError

LONGEST_CELL = 2**31 - 1  # characters; Python's csv module would stop at 131,072
UNIT = {".json": "record", ".parquet": "record"}  # places in other files are lines


def load(
    train_file: str,
    validation_file: str,
    test_file: str | None,
    max_train_examples: Annotated[int, at_least(1)] | None,
    max_eval_examples: Annotated[int, at_least(1)] | None,
    conll: Mapping[str, Any] | None = None,
) -> Splits:
    """Read one file for each split, and no more examples of it than the limits allow.

    Args:
        conll: its `columns` names the columns in files of words and tags; see `data/conll.py`.

    Raises:
        DataError: a file is empty, damaged, or its records have different columns.
    """
    columns = conll["columns"] if conll else None
    return Splits(
        read(train_file, max_train_examples, columns),
        read(validation_file, max_eval_examples, columns),
        read(test_file, max_eval_examples, columns) if test_file else None,
    )


def read(path: str | Path, limit: int | None = None, columns: Sequence[str] | None = None) -> Split:
    """Read the examples of one file into a split that is named after the file."""
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
