"""A table that is made chunk by chunk; a long one lies in a file, and is mapped into memory."""

import tempfile
from pathlib import Path

import pyarrow as pa

from expkit.config.project import output_dir


class GrowingTable:
    """Takes chunks whose types may become wider: null to any type, whole numbers to fractions.

    One chunk alone stays in memory. The file has no name any more once the table is made, so it goes
    with the table.
    """

    def __init__(self) -> None:
        self._first: pa.Table | None = None
        self._file: Path | None = None
        self._writer: pa.RecordBatchStreamWriter | None = None
        self.schema: pa.Schema | None = None

    def append(self, chunk: pa.Table) -> None:
        """Raises pa.ArrowInvalid or pa.ArrowTypeError if the types do not go together."""
        if self.schema is None:
            self._first, self.schema = chunk, chunk.schema
            return
        schema = pa.unify_schemas([self.schema, chunk.schema], promote_options="permissive")
        if self._writer is None or schema != self.schema:
            self._begin(schema)
        assert self._writer is not None
        self._writer.write_table(chunk.select(schema.names).cast(schema))

    def _begin(self, schema: pa.Schema) -> None:
        """A file of these types, with what there is already."""
        before = self.table().cast(schema)
        folder = output_dir() / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".arrow", delete=False) as file:
            self._file = Path(file.name)
        self._writer = pa.ipc.new_stream(str(self._file), schema)
        self._writer.write_table(before)
        self.schema, self._first = schema, None

    def table(self) -> pa.Table:
        """All chunks."""
        if self._writer is None or self._file is None:
            assert self._first is not None
            return self._first
        self._writer.close()
        table = pa.ipc.open_stream(pa.memory_map(str(self._file))).read_all()
        self.discard()
        return table

    def discard(self) -> None:
        """Leave no file behind; also after an error."""
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.unlink()
            self._writer = None
