"""Parquet and Arrow files."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from expkit.config.data_files import compression_of, kind_of
from expkit.data.splits import CHUNK, Record
from expkit.data.table import Source
from expkit.data.text_files import opened
from expkit.terminal.errors import DataError, reason

NAMES = {".parquet": "Parquet", ".arrow": "Arrow"}
FEATURES = b"huggingface"  # where `datasets` keeps the names of class labels


def source(file: Path) -> Source:
    """Open a file, whose records are numbered from 1."""
    with _refused(file):
        schema, batches = _opened(file)
    metadata = schema.metadata or {}
    features = {FEATURES: metadata[FEATURES]} if FEATURES in metadata else {}
    name, count = Counter(schema.names).most_common(1)[0] if schema.names else ("", 0)
    if count > 1:
        raise DataError(f"{file}: two columns have the name {name!r:.60}; rename one of them")
    return Source(file, "record", enumerate(_records(file, batches), start=1), features)


def _records(file: Path, batches: Iterable[Any]) -> Iterator[Record]:
    with _refused(file):
        for batch in batches:
            for start in range(0, len(batch), CHUNK):
                yield from batch.slice(start, CHUNK).to_pylist()


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    """Raise a DataError for content that is not what the name of the file says."""
    try:
        yield
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk is at fault, not the content of the file
        raise DataError(f"{file}: not {NAMES[str(kind_of(file))]}: {reason(error)}") from None


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
