"""`data=files`: JSON Lines, JSON, CSV, Parquet, plain text, and columns of words and tags."""

import csv
import hashlib
import json
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset
from datasets.table import InMemoryTable

from expkit.data import conll
from expkit.data.splits import CHUNK, Record, Split, Splits
from expkit.data.table import GrowingTable
from expkit.errors import DataError

# A line number beside each record, so that a message can name the place of a mistake.
Located = Iterator[tuple[int, Record]]

UNIT = {".json": "record", ".parquet": "record"}  # all others count lines


def load(
    train_file: str,
    validation_file: str,
    test_file: str | None,
    max_train_examples: int | None,
    max_eval_examples: int | None,
) -> Splits:
    """Read one file a split, at most the first so many examples of it.

    Raises:
        DataError: a file is empty, damaged, or its records have different columns.
    """
    return Splits(
        read(Path(train_file), max_train_examples),
        read(Path(validation_file), max_eval_examples),
        read(Path(test_file), max_eval_examples) if test_file else None,
    )


def read(file: Path, limit: int | None = None) -> Split:
    """The examples of one file as a split named after it."""
    try:
        table, lines = _table(file, islice(READERS[file.suffix](file), limit))
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text (byte {error.start}: {error.reason})") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    unit = UNIT.get(file.suffix, "line")
    digest = _digest(file, limit)
    return Split(
        # Without a fingerprint, datasets would pickle the whole table to compute one.
        Dataset(InMemoryTable(table), fingerprint=digest[:32]),
        name=file.stem,
        source=str(file),
        digest=digest,
        where=lambda i: f"{file}, {unit} {lines[i]}",
    )


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
                table.append(
                    pa.table({name: pa.array([r[name] for _, r in chunk]) for name in first})
                )
            except (pa.ArrowException, OverflowError):
                raise _odd_one(file, unit, first, chunk) from None
            lines.extend(line for line, _ in chunk)
        if not lines:
            raise DataError(f"{file}: is empty; expected one example a line")
        return table.table(), lines
    finally:
        table.discard()


def _require_columns(
    file: Path, unit: str, columns: Record, located: list[tuple[int, Record]]
) -> None:
    for line, record in located:
        if record.keys() != columns.keys():
            differing = sorted(record.keys() ^ columns.keys())
            raise DataError(
                f"{file}, {unit} {line}: columns differ from those of the first one in "
                f"{', '.join(map(repr, differing))}"
            )


def _odd_one(file: Path, unit: str, first: Record, located: list[tuple[int, Record]]) -> DataError:
    """Names the first value that does not go together with the first one of its column."""
    for column, known in first.items():
        for line, record in located:
            value = record[column]
            place = f"{file}, {unit} {line}: {column}={value!r:.60}"
            if value is not None and type(value) is not type(known):
                return DataError(
                    f"{place} is of type {type(value).__name__}, but the first value is of type "
                    f"{type(known).__name__}"
                )
            try:
                pa.array([known, value])
            except (pa.ArrowException, OverflowError) as error:
                return DataError(f"{place} does not fit the type of the first value: {error}")
    return DataError(f"{file}: the values of one of its columns do not fit one type")


def _digest(file: Path, limit: int | None) -> str:
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashlib.sha256(f"{content}:{limit}".encode()).hexdigest() if limit else content


def _jsonl(file: Path) -> Located:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _record(file, f"line {number}", line)


def _record(file: Path, place: str, text: str) -> Record:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{file}, {place}: not JSON: {error}; starts {text[:60]!r}") from None
    return _mapping(file, place, value)


def _mapping(file: Path, place: str, value: object) -> Record:
    if not isinstance(value, dict):
        raise DataError(
            f'{file}, {place}: expected an object such as {{"text": …}}, got {value!r:.60}'
        )
    return value


def _json(file: Path) -> Located:
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{file}: not JSON: {error}") from None
    if isinstance(values, dict) and isinstance(values.get("data"), list):
        values = values["data"]
    if not isinstance(values, list):
        raise DataError(f'{file}: expected a list of objects, or {{"data": [...]}}')
    for number, value in enumerate(values, start=1):
        yield number, _mapping(file, f"record {number}", value)


def _csv(file: Path) -> Located:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream, strict=True)
        try:
            for row in rows:
                if None in row or None in row.values():
                    names = rows.fieldnames or []
                    raise DataError(
                        f"{file}, line {rows.line_num}: expected {len(names)} columns "
                        f"({', '.join(names)}), found {'more' if None in row else 'fewer'}"
                    )
                yield rows.line_num, dict(row)
        except csv.Error as error:
            raise DataError(f"{file}, line {rows.line_num}: not CSV: {error}") from None


def _parquet(file: Path) -> Located:
    try:
        records = pyarrow.parquet.read_table(file).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{file}: not Parquet: {error}") from None
    yield from enumerate(records, start=1)


def _text(file: Path) -> Located:
    """One text a line; blank lines are skipped."""
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if text := line.strip():
                yield number, {"text": text}


READERS: dict[str, Callable[[Path], Located]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".txt": _text,
    ".conll": conll.records,
    ".bio": conll.records,
    ".iob": conll.records,
}
