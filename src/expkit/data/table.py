"""Records become one table. A value that does not fit is named by its file and line."""

import json
import reprlib
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa

from expkit.config.project import output_dir
from expkit.data.splits import CHUNK, Record
from expkit.terminal.errors import DataError

# Each record with the number of its line, so that a message can name the place of a mistake.
Located = Iterator[tuple[int, Record]]

DEEPEST = 32  # levels of lists and objects in a value; Arrow takes 64
# What pyarrow raises for a value that it does not take.
UNFIT = (pa.ArrowException, OverflowError, UnicodeEncodeError, RecursionError)


@dataclass(frozen=True)
class Source:
    """The records of one file.

    Args:
        unit: what the numbers of the records count, `line` or `record`.
        features: what `datasets` says of the columns.
        has_optional: a record may lack a column that others have; its value is null then.
    """

    file: Path
    unit: str
    located: Located
    features: dict[bytes, bytes] = field(default_factory=dict)
    has_optional: bool = False
    lines: "array[int]" = field(default_factory=lambda: array("q"))  # of what the table holds


def table_of(
    files: Sequence[Path], opened: Callable[[Path], Source], limit: int | None = None
) -> tuple[pa.Table, list[Source]]:
    """Put the first `limit` records of all files into a table; return it and the files that were read.

    Python holds one chunk of the records at a time, and all chunks but the first are kept on disk. A
    later chunk may widen the type of a column: null to any type, whole numbers to fractions.

    Raises:
        DataError: a file cannot be read or has no records, or they differ in their columns or types.
    """
    parts: list[pa.Table] = []
    known: Record = {}  # the first value of each column that is not null
    done: list[Source] = []
    left = limit
    for file in files:
        try:
            done.append(source := opened(file))
            located = islice(source.located, left)
            while chunk := list(islice(located, CHUNK)):
                known = known or dict.fromkeys(chunk[0][1])
                _add(parts, source, files[0], known, chunk)
                source.lines.extend(line for line, _ in chunk)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
        if not source.lines:
            raise DataError(f"{file}: is empty; expected one example a line")
        if source.features != done[0].features:
            raise DataError(
                f"{file}: its columns are described in another way than those of {files[0]}, such as by other "
                "names of labels; write both by the same features"
            )
        left = None if left is None else left - len(source.lines)
        if left == 0:
            break
    return pa.concat_tables(parts).replace_schema_metadata(done[0].features), done


def _add(
    parts: list[pa.Table],
    source: Source,
    like: Path,
    known: Record,
    chunk: list[tuple[int, Record]],
) -> None:
    """Add a chunk of records, and to `known` the first value of columns that had none."""
    if source.has_optional:
        chunk = _filled(parts, source, known, chunk)
    _require_columns(source, like, known, chunk)
    for column in [column for column, value in known.items() if value is None]:
        values = (record[column] for _, record in chunk)
        known[column] = next((v for v in values if v is not None), None)
    # Arrow takes gigabytes for a value of some hundred levels, before it refuses it or not.
    values = (value for _, record in chunk for value in record.values())
    if any(_is_nested(value, DEEPEST) for value in values):
        raise _odd_one(source, known, chunk)
    try:
        part = pa.table({name: pa.array([r[name] for _, r in chunk]) for name in known})
        _append(parts, part)
    except UNFIT:
        raise _odd_one(source, known, chunk) from None


def _filled(
    parts: list[pa.Table], source: Source, known: Record, chunk: list[tuple[int, Record]]
) -> list[tuple[int, Record]]:
    """The records with all columns so far; columns that are new here are null in what was read before."""
    for line, record in chunk:
        if not record:
            raise DataError(f"{source.file}, {source.unit} {line}: is an object without columns")
        for name in [name for name in record if name not in known]:
            known[name] = None
            parts[:] = [part.append_column(name, pa.nulls(len(part))) for part in parts]
    return [(line, {name: record.get(name) for name in known}) for line, record in chunk]


def _append(parts: list[pa.Table], part: pa.Table) -> None:
    """Give all parts the types that suit the new one too."""
    if parts:
        part = _on_disk(part)
        before = parts[0].schema
        schema = pa.unify_schemas([before, part.schema], promote_options="permissive")
        if schema != before:
            parts[:] = [earlier.cast(schema) for earlier in parts]
        part = part.cast(schema)
    parts.append(part)


def _on_disk(table: pa.Table) -> pa.Table:
    """The same table, mapped into memory from a file without a name, which goes with the table."""
    folder = output_dir() / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".arrow") as file:
        with pa.ipc.new_stream(file.name, table.schema) as writer:
            writer.write_table(table)
        return pa.ipc.open_stream(pa.memory_map(file.name)).read_all()


def _require_columns(
    source: Source, like: Path, columns: Record, located: list[tuple[int, Record]]
) -> None:
    file, unit = source.file, source.unit
    model = "the first one" if file == like else str(like)
    for name in columns:
        if "\0" in name or not is_encodable(name):
            raise DataError(
                f"{file}: the column {name!r:.60} has a NUL in its name, or half of a character; "
                "is the file UTF-8 text?"
            )
    for line, record in located:
        if record.keys() != columns.keys():
            differing = sorted(record.keys() ^ columns.keys())
            raise DataError(
                f"{file}, {unit} {line}: columns differ from those of {model} in "
                f"{', '.join(f'{name!r:.60}' for name in differing[:5])}"
            )


def _odd_one(source: Source, first: Record, located: list[tuple[int, Record]]) -> DataError:
    """An error that names the first value that does not fit the first one of its column."""
    file, unit = source.file, source.unit
    for column, known in first.items():
        for line, record in located:
            value = record[column]
            place = f"{file}, {unit} {line}: {column:.60}={shown(value)}"
            if _is_nested(value, DEEPEST):
                return DataError(f"{place} is nested more than {DEEPEST} levels deep")
            if not is_encodable(value):
                return DataError(f"{place} holds a lone surrogate, which is half of a character")
            if value is not None and {type(value), type(known)} not in (
                {type(known)},
                {int, float},
            ):
                return DataError(
                    f"{place} is of type {type(value).__name__}, but the first value is of type "
                    f"{type(known).__name__}"
                )
            try:
                pa.array([known, value])
            except UNFIT as error:
                return DataError(f"{place} does not fit the type of the first value: {error}")
    return DataError(f"{file}: the values of one of its columns do not fit one type")


def is_encodable(value: object) -> bool:
    """Whether all texts in a value can be written as UTF-8: they hold no half of a character."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_nested(value: object, levels: int) -> bool:
    """Whether a value has more levels of lists and objects."""
    inner: Iterable[object] = value.values() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inner = value
    deeper = (one for one in inner if isinstance(one, dict | list))
    return levels < 1 or any(_is_nested(one, levels - 1) for one in deeper)


def shown(value: object) -> str:
    """The beginning of a value, for a message; `repr` fails for deeply nested lists."""
    return f"{reprlib.repr(value):.60}"
