"""Text files are opened: compressed or not, in UTF-8 or in another encoding."""

import codecs
import re
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from pathlib import Path

import pyarrow as pa

from expkit.config.data_files import compression_of
from expkit.terminal.errors import DataError

# What a file may begin with. The mark of UTF-32 begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LINE_END = re.compile(r"\r\n?|\n")


def opened(file: Path) -> BufferedReader:
    """Open a file for reading its bytes, decompressed if need be."""
    compression = compression_of(file)
    if compression is None:
        return file.open("rb")
    return BufferedReader(pa.input_stream(str(file), compression=compression))


def lines_of(file: Path, encoding: str | None, newline: str | None = None) -> Iterator[str]:
    """Iterate over the lines of a text file.

    Args:
        encoding: None means UTF-8. A mark at the beginning of the file counts more.
        newline: as for `open`; None makes all line ends alike.

    Raises:
        DataError: a line is not text in this encoding.
    """
    number = 0
    with opened(file) as stream:
        start = stream.peek(4)
        marked = next((codec for mark, codec in MARKS.items() if start.startswith(mark)), None)
        codec = marked or encoding or "utf-8"
        try:
            for number, line in enumerate(TextIOWrapper(stream, codec, newline=newline), start=1):
                if number == 1 and "\0" in line:
                    raise DataError(
                        f"{file}, line 1: holds a NUL, as files that are not text do, and text in UTF-16; for "
                        "text, name its encoding, such as data.encoding=utf-16-le"
                    )
                yield line
        except UnicodeError as error:
            known = error if isinstance(error, UnicodeDecodeError) else None
            before = known.object[: known.start] if known else b""
            line_ends = len(LINE_END.findall(before.decode(codec, "replace")))
            raise DataError(
                f"{file}, line {number + 1 + line_ends}: not {codec.upper().removesuffix('-SIG')} text; if it "
                "is text in another encoding, name that, such as data.encoding=cp1252 or utf-16-le"
            ) from None
