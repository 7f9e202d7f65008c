"""Writes records with what was predicted for them into a JSON Lines, CSV or Parquet file."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from expkit.data.splits import Record, Split
from expkit.terminal.errors import UserError, nearest

TABLES: dict[str, Any] = {".csv": pa.csv.CSVWriter, ".parquet": pa.parquet.ParquetWriter}

# Some of the records, and rows of predictions for each of them.
Answered = tuple[Split, list[list[Record]]]


def require_new(file: Path) -> None:
    """Raise a UserError if the kind of file is unknown, if it exists, or if it has no folder."""
    if file.suffix not in (kinds := (".jsonl", *TABLES)):
        raise UserError(f"--out {file}: unknown kind of file; {nearest(file.suffix, kinds)}")
    if file.exists() or not file.parent.is_dir():
        why = "exists; remove it, or name another file" if file.exists() else "has no such folder"
        raise UserError(f"--out {file}: {why}")


def save(file: Path, parts: Iterator[Answered], has_several_rows: bool) -> None:
    """Write all columns of the records, and the predictions. The file appears when it is whole.

    Raises:
        UserError: the disk is full, a new column has the name of one in the data, or values do not fit.
    """
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("xb") as stream, ExitStack() as closed:
            schema = writer = None
            for split, answers in parts:
                table = split.rows.with_format("arrow")[:]
                if file.suffix not in TABLES:
                    _require_free(table, "predictions")
                    for record, rows in zip(table.to_pylist(), answers, strict=True):
                        stream.write(as_json({**record, "predictions": rows}).encode() + b"\n")
                    continue
                table = widened(table, answers, has_several_rows, file.suffix == ".csv")
                if not writer:
                    schema = table.schema
                    writer = closed.enter_context(TABLES[file.suffix](stream, schema))
                writer.write_table(table.cast(schema))
        unfinished.replace(file)
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise UserError(f"--out {file}: cannot be written: {why:.200}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def as_json(value: object) -> str:
    """One line of JSON; what it has no form for, such as a date, is a text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def widened(
    table: pa.Table, answers: list[list[Record]], has_several_rows: bool, is_csv: bool
) -> pa.Table:
    """The table with columns for the predictions; in CSV, lists and objects are JSON text."""
    if not has_several_rows and any(len(rows) != 1 for rows in answers):
        raise UserError(
            "task: answers a record with several rows, or none; let it say `has_several_rows = True`"
        )
    rows = [{"predictions": as_json(r)} if has_several_rows else _columns(*r) for r in answers]
    for name in rows[0]:
        _require_free(table, name)
        values = pa.array([row[name] for row in rows])
        if values.type == pa.list_(pa.null()):  # a part of the data with nothing but empty lists
            values = values.cast(pa.list_(pa.string()))
        table = table.append_column(name, values)
    for i, field in enumerate(table.schema):
        if is_csv and pa.types.is_nested(field.type):
            texts = pa.array([as_json(value) for value in table[i].to_pylist()])
            table = table.set_column(i, field.name, texts)
    return table


def _columns(row: Record) -> Record:
    every = row.get("probabilities", {})
    named = {f"predicted_{name}": value for name, value in row.items() if value is not every}
    return named | {f"p_{label}": value for label, value in every.items()}


def _require_free(table: pa.Table, name: str) -> None:
    if name in table.column_names:
        raise UserError(
            f"--out: the data have a column {name!r:.60}, where predictions would be written; rename it"
        )
