"""JSON Lines, and JSON in one piece."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from expkit.data.splits import Record
from expkit.data.table import Located, Source, shown
from expkit.data.text_files import lines_of
from expkit.terminal.display import say
from expkit.terminal.errors import DataError


def one_a_line(file: Path, encoding: str | None) -> Located:
    """Read JSON Lines: one object on each line; blank lines are skipped."""
    for number, line in enumerate(lines_of(file, encoding), start=1):
        if line.strip():
            yield number, _mapping(f"{file}, line {number}", _parsed(file, line, number))


def source(file: Path, encoding: str | None) -> Source:
    """Read a list of objects, {"data": [...]}, an object of lists, or one object a line."""
    filled = (line for line in lines_of(file, encoding) if line.strip())
    first, *more = list(islice(filled, 2)) or [""]
    filled.close()
    if more and _is_object(first):
        return Source(file, "line", one_a_line(file, encoding), has_optional=True)
    return Source(file, "record", _whole(file, encoding), has_optional=True)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _whole(file: Path, encoding: str | None) -> Located:
    values = _parsed(file, "".join(lines_of(file, encoding)))
    if isinstance(values, dict):
        data = values.get("data")
        is_list = isinstance(data, list) and all(isinstance(one, dict) for one in data)
        values = data if is_list else _by_column(file, values)
    if not isinstance(values, list):
        raise DataError(f'{file}: expected a list of objects, or {{"data": [...]}}')
    for number, value in enumerate(values, start=1):
        yield number, _mapping(f"{file}, record {number}", value)


def _by_column(file: Path, columns: dict[str, Any]) -> list[Record]:
    """The records of an object that has a list for each column; any other object is one record."""
    if not columns or not all(isinstance(values, list) for values in columns.values()):
        return [columns]
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{file}: is one object of lists, but they are not equally long: {shown(lengths)}; if it is one "
            "record, name the file .jsonl and write it on one line"
        )
    say(f"{file}: is one object of lists; each list is read as a column, and not all as one record")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise DataError(f"an object has two values of the name {twice!r:.60}; keep one of them")
    return found


_decoder = json.JSONDecoder(object_pairs_hook=_unique)


def _parsed(file: Path, text: str, line: int = 0) -> Any:
    """Parse JSON text: line `line` of the file, or the whole file if `line` is 0."""
    place, starts = f"{file}, line {line}" if line else str(file), f"starts {text[:60]!r}"
    try:
        return _decoder.decode(text)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    except json.JSONDecodeError as error:
        why = f"not JSON: {error.msg.removesuffix(' at')} (column {error.colno})"
        raise DataError(f"{file}, line {line or error.lineno}: {why}; {starts}") from None
    except (ValueError, RecursionError):
        why = "a number has more digits than Python reads, or lists are nested too deeply"
        raise DataError(f"{place}: {why}; {starts}") from None


def _mapping(place: str, value: object) -> Record:
    if not isinstance(value, dict):
        raise DataError(f'{place}: expected an object such as {{"text": …}}, got {shown(value)}')
    return value
