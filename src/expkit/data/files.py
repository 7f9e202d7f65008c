"""`data=files`: JSON Lines, JSON, CSV, Parquet, plain text, and columns of words and tags."""

import csv
import hashlib
import json
import reprlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from expkit.data.table import GrowingTable
from expkit.terminal.errors import DataError

# A line number beside each record, so that a message can name the place of a mistake.
Located = Iterator[tuple[int, Record]]

DEEPEST = 32  # levels of lists and objects in a value; Arrow takes 64
LONGEST_CELL = 2**31 - 1  # characters of CSV; Python's csv would stop at 131,072
# What pyarrow raises for a value that it does not take.
UNFIT = (pa.ArrowException, OverflowError, UnicodeEncodeError, RecursionError)

UNIT = {".json": "record", ".parquet": "record"}  # all others count lines


def load(
    train_file: str,
    validation_file: str,
    test_file: str | None,
    max_train_examples: Annotated[int, at_least(1)] | None,
    max_eval_examples: Annotated[int, at_least(1)] | None,
    conll: Mapping[str, Any] | None = None,
) -> Splits:
    """Read one file a split, at most the first so many examples of it.

    Args:
        conll: `columns` names those of files of words and tags; see `data/conll.py`.

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
    """The examples of one file as a split named after it."""
    file = Path(path).expanduser()
    try:
        reader = READERS[file.suffix]
        located = reader(file, columns) if reader is conll.records else reader(file)
        table, lines = _table(file, islice(located, limit))
        facts = [as_read(file, digest_of_content(file)), limit, list(columns or ())]
        if file.suffix == ".parquet":  # where `datasets` keeps the names of class labels
            table = table.replace_schema_metadata(pyarrow.parquet.read_schema(file).metadata)
    except UnicodeDecodeError:
        raise _not_utf8(file) from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    unit = UNIT.get(file.suffix, "line")
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    try:
        # Without a fingerprint, datasets would pickle the whole table to compute one.
        rows = Dataset(InMemoryTable(table), fingerprint=digest[:32])
    except (pa.ArrowException, ValueError, TypeError, LookupError, AttributeError) as error:
        text = str(error).partition("\n")[0]
        raise DataError(f"{file}: cannot be used: {text:.200}") from None
    return Split(rows, file.stem, str(file), digest, where=lambda i: f"{file}, {unit} {lines[i]}")


def _not_utf8(file: Path) -> DataError:
    """Names the line, which an error of decoding does not know."""
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        wrong = (number for number, line in enumerate(lines, 1) if not _is_encodable(line))
        return DataError(f"{file}, line {next(wrong, 1)}: not UTF-8 text")


def _table(file: Path, located: Located) -> tuple[pa.Table, "array[int]"]:
    """All records as a table, and their lines; as Python objects only a chunk of them at a time.

    Raises:
        DataError: there is no record, they have different columns, or values of different types.
    """
    unit = UNIT.get(file.suffix, "line")
    lines: array[int] = array("q")
    table = GrowingTable()
    first: Record = {}  # the first value of each column that is not null
    try:
        while chunk := list(islice(located, CHUNK)):
            first = first or dict.fromkeys(chunk[0][1])
            _require_columns(file, unit, first, chunk)
            for column, known in first.items():
                if known is None:
                    values = (record[column] for _, record in chunk)
                    first[column] = next((v for v in values if v is not None), None)
            try:
                part = pa.table({name: pa.array([r[name] for _, r in chunk]) for name in first})
                if any(_is_deeper(column, DEEPEST) for column in part.schema.types):
                    raise _odd_one(file, unit, first, chunk)
                table.append(part)
            except UNFIT:
                raise _odd_one(file, unit, first, chunk) from None
            lines.extend(line for line, _ in chunk)
        if not lines:
            raise DataError(f"{file}: is empty; expected one example a line")
        return table.table(), lines
    finally:
        table.discard()


def _is_deeper(kind: pa.DataType, levels: int) -> bool:
    inner = (kind.field(i).type for i in range(kind.num_fields))
    return levels < 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _require_columns(
    file: Path, unit: str, columns: Record, located: list[tuple[int, Record]]
) -> None:
    for name in columns:
        if "\0" in name or not _is_encodable(name):
            raise DataError(
                f"{file}: the column {name!r:.60} has a NUL in its name, or half of a character; "
                "is the file UTF-8 text?"
            )
    for line, record in located:
        if not record:
            raise DataError(f"{file}, {unit} {line}: is an object without columns")
        if record.keys() != columns.keys():
            differing = sorted(record.keys() ^ columns.keys())
            raise DataError(
                f"{file}, {unit} {line}: columns differ from those of the first one in "
                f"{', '.join(f'{name!r:.60}' for name in differing[:5])}"
            )


def _odd_one(file: Path, unit: str, first: Record, located: list[tuple[int, Record]]) -> DataError:
    """Names the first value that does not go together with the first one of its column."""
    for column, known in first.items():
        for line, record in located:
            value = record[column]
            place = f"{file}, {unit} {line}: {column:.60}={_shown(value)}"
            if _is_nested(value, DEEPEST):
                return DataError(f"{place} is nested more than {DEEPEST} levels deep")
            if not _is_encodable(value):
                return DataError(f"{place} holds a lone surrogate, which is half of a character")
            if value is not None and type(value) is not type(known):
                return DataError(
                    f"{place} is of type {type(value).__name__}, but the first value is of type "
                    f"{type(known).__name__}"
                )
            try:
                pa.array([known, value])
            except UNFIT as error:
                return DataError(f"{place} does not fit the type of the first value: {error}")
    return DataError(f"{file}: the values of one of its columns do not fit one type")


def _is_encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_nested(value: object, levels: int) -> bool:
    """Whether more than so many lists and objects are inside each other."""
    inner: Iterable[object] = value.values() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inner = value
    return levels < 0 or any(_is_nested(one, levels - 1) for one in inner)


def _shown(value: object) -> str:
    """The beginning of a value, for a message; `repr` would fail where lists are nested deeply."""
    return f"{reprlib.repr(value):.60}"


def _jsonl(file: Path) -> Located:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _mapping(file, f"line {number}", _parsed(file, line, number))


def _parsed(file: Path, text: str, line: int = 0) -> Any:
    """The value of JSON text, which is one line of the file, or all of it."""
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
            f'{file}, {place}: expected an object such as {{"text": …}}, got {_shown(value)}'
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
    """The rows that are not blank, each with the line on which it begins."""
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
        records = pyarrow.parquet.read_table(file).to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of the disk, not of what is in the file
        text = str(error).strip().partition("\n")[0]
        raise DataError(f"{file}: not Parquet: {text}") from None
    yield from enumerate(records, start=1)


def _text(file: Path) -> Located:
    """One text a line; blank lines are skipped."""
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
