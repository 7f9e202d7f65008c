"""Data that Python users hold in memory, kept as a file whose content decides the fingerprint."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import pandas as pd
import pyarrow as pa
from datasets import Dataset, Features

from expkit.config.fingerprint import digest_of_content
from expkit.config.project import output_dir
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, reason

Given: TypeAlias = pd.DataFrame | Dataset | str | Path


def file_of(name: str, given: Given) -> str:
    """The name of a file with these data, such as `outputs/given/DIGEST/train.arrow`; a file stays as it is.

    The same data are kept once. The index of a DataFrame is left out.

    Raises:
        DataError: the data are of another kind, or Arrow cannot hold them.
    """
    if isinstance(given, str | Path):
        return str(given)
    table = _table(name, given)
    folder = output_dir() / "given"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{uuid4().hex}.unfinished"
    try:
        with (
            pa.OSFile(str(unfinished), "wb") as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table.combine_chunks())
        kept = folder / digest_of_content(unfinished)[:16] / f"{name}.arrow"
        kept.parent.mkdir(exist_ok=True)
        if not kept.exists():
            unfinished.replace(kept)
    finally:
        unfinished.unlink(missing_ok=True)
    return os.path.relpath(kept)


def _table(name: str, given: object) -> pa.Table:
    try:
        if isinstance(given, Dataset):
            if given.format["type"] == "custom":
                raise DataError(
                    f"{name}: has a transform, which would be left out; apply it by data.map"
                )
            table = given.with_format("arrow")[:].replace_schema_metadata()
            if given.features == Features.from_arrow_schema(table.schema):
                return _plain(table)
            return table.cast(given.features.arrow_schema)  # which has the names of class labels
        if isinstance(given, pd.DataFrame):
            if columns := dict(_columns(name, given)):
                return _plain(pa.table(columns))
            raise DataError(f"{name}: has no column that can be read")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{name}: cannot be kept: {reason(error)}") from None
    kind = type(given)
    raise DataError(
        f"{name}: is a {kind.__module__}.{kind.__name__}; expected a pandas DataFrame, a datasets.Dataset or a file; "
        "a DatasetDict is given as **data, and a stream as Dataset.from_list(list(data))"
    )


def _columns(name: str, frame: pd.DataFrame) -> Iterator[tuple[str, pa.Array]]:
    """The columns that Arrow can hold; the task may need none of the others, and else says which it lacks."""
    for column, times in Counter(frame).items():
        why = "stands there twice" if isinstance(column, str) else "has no text as its name"
        if isinstance(column, str) and times == 1:
            try:
                yield column, pa.array(frame[column], from_pandas=True)
                continue
            except (pa.ArrowException, TypeError, ValueError) as error:
                why = reason(error)
        say(f"{name}: the column {column!r} is left out: {why}")


def _plain(table: pa.Table) -> pa.Table:
    """The table with the types that the same values have from any DataFrame: text, whether categorical or not."""
    types = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in table.schema]
    types = [pa.string() if pa.types.is_large_string(kind) else kind for kind in types]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))
