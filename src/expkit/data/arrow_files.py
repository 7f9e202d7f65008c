"""Parquet and Arrow files."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from expkit.config.data_files import compression_of, kind_of
from expkit.data.splits import CHUNK
from expkit.data.table import Located
from expkit.data.text_files import opened
from expkit.terminal.errors import DataError

NAMES = {".parquet": "Parquet", ".arrow": "Arrow"}
FEATURES = b"huggingface"  # where `datasets` keeps the names of class labels


def records(file: Path) -> Located:
    """Read the records of a file, numbered from 1."""
    number = 0
    try:
        schema, batches = _opened(file)
        if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
            raise DataError(
                f"{file}: two columns have the name {twice[0]!r:.60}; rename one of them"
            )
        for batch in batches:
            for start in range(0, len(batch), CHUNK):
                for record in batch.slice(start, CHUNK).to_pylist():
                    number += 1
                    yield number, record
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk is at fault, not the content of the file
        text = str(error).strip().partition("\n")[0]
        raise DataError(f"{file}: not {NAMES[str(kind_of(file))]}: {text}") from None


def features(file: Path) -> dict[bytes, bytes]:
    """What `datasets` says of the columns; nothing for files of other kinds."""
    if kind_of(file) not in NAMES:
        return {}
    metadata = _opened(file)[0].metadata or {}
    return {FEATURES: metadata[FEATURES]} if FEATURES in metadata else {}


def _opened(file: Path) -> tuple[Any, Iterable[Any]]:
    """The schema and the batches of a file. An Arrow file is made to be streamed, or begins with ARROW1."""
    with opened(file) as stream:
        start = stream.peek(6)
        source = pa.BufferReader(stream.read()) if compression_of(file) else pa.OSFile(str(file))
    if kind_of(file) == ".parquet":
        parquet = pyarrow.parquet.ParquetFile(source)
        return parquet.schema_arrow, parquet.iter_batches(CHUNK)
    if start.startswith(b"ARROW1"):
        reader = pa.ipc.open_file(source)
        return reader.schema, map(reader.get_batch, range(reader.num_record_batches))
    stream_reader = pa.ipc.open_stream(source)
    return stream_reader.schema, stream_reader
