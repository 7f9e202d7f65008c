"""CSV and its relatives, such as TSV. Delimiter and quoting are given, or found by looking."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from expkit.data.table import Located
from expkit.data.text_files import lines_of
from expkit.terminal.display import say
from expkit.terminal.errors import DataError

LONGEST_CELL = 2**31 - 1  # characters; Python's csv module would stop at 131,072
DELIMITERS = (",", ";", "\t", "|")
NO_DELIMITER = "\x1f"  # stands in no text, so that lines stay whole
QUOTINGS: dict[str, Any] = {"minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}

Lines = partial[Iterator[str]]  # of lines_of, with the file as its first argument


class Dialect(NamedTuple):
    """How cells are separated, and whether quotation marks around them are part of the text."""

    delimiter: str
    quoting: str  # a key of QUOTINGS


@dataclass
class Look:
    """What comes out if a file is read in one dialect."""

    columns: int = 0  # in the header; 0 if not even that can be read
    rows: int = 0  # up to the first that has another number of cells
    fits: bool = False  # no row has another number of cells
    header: bool = False  # a name begins with a quotation mark
    quoted: bool = False  # a cell does
    doubled: bool = False  # and has two in a row, which is how CSV writes one


def records(file: Path, encoding: str | None, options: Mapping[str, Any]) -> Located:
    """Read rows as records. All values are texts; blank lines are skipped.

    Args:
        options: `delimiter` and `quoting`, each None if it is to be found.
    """
    lines = partial(lines_of, file, encoding, newline="")
    delimiter = "\t" if options.get("delimiter") == "tab" else options.get("delimiter")
    dialect = _dialect(lines, delimiter, options.get("quoting"))
    rows = rows_of(lines, dialect)
    line, names = next(rows, (0, []))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{file}, line {line}: two columns have the name {twice[0]!r:.60}; rename one"
        )
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{file}, line {line}: expected {len(names)} columns ({', '.join(names):.200}), found "
                f"{'more' if len(row) > len(names) else 'fewer'}; read with "
                f"data.csv.delimiter={_name(dialect.delimiter)}, data.csv.quoting={dialect.quoting}"
            )
        yield line, dict(zip(names, row, strict=True))


def rows_of(lines: Lines, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """All rows but blank ones, each with the number of the line on which it begins."""
    csv.field_size_limit(LONGEST_CELL)
    quoting = QUOTINGS[dialect.quoting]
    rows = csv.reader(lines(), delimiter=dialect.delimiter, quoting=quoting, strict=True)
    line = 1
    try:
        for row in rows:
            if row:
                yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{lines.args[0]}, line {line}: not CSV: {error}; if quotation marks are part of the texts, set "
            "data.csv.quoting=none"
        ) from None


def _look(lines: Lines, dialect: Dialect) -> Look:
    look = Look()
    try:
        for _, row in rows_of(lines, dialect):
            marked = [cell for cell in row if cell.startswith('"')]
            if not look.columns:
                look = Look(len(row), fits=True, header=bool(marked))
            if len(row) != look.columns:
                look.fits = False
                break
            look.rows += 1
            look.quoted |= bool(marked)
            look.doubled |= any('""' in cell for cell in marked)
    except DataError:  # comes again when the records are read
        look.fits = False
    return look


def _dialect(lines: Lines, delimiter: str | None, quoting: str | None) -> Dialect:
    """The dialect in which all rows have as many cells as the header has names.

    Of several delimiters the one that makes most columns is taken. If none stands in the header, each
    row is one cell.
    """
    if not quoting and not any('"' in line for line in lines()):
        quoting = "minimal"
    delimiters = [delimiter] if delimiter else _in_header(lines, quoting or "minimal")
    if quoting and len(delimiters) == 1:
        return Dialect(delimiters[0], quoting)
    looks = {one: _look(lines, Dialect(one, quoting or "minimal")) for one in delimiters}
    fitting = [one for one in looks if looks[one].fits]
    likely = fitting or [max(looks, key=lambda one: looks[one].rows)]
    dialect = Dialect(likely[0], quoting) if quoting else _quoting(lines, looks, likely)
    taken = dialect.delimiter
    rivals = [one for one in fitting if one != taken and looks[one].columns > 1]
    if fitting and looks[taken].columns == 1 and taken not in (",", delimiter):
        say(f"{lines.args[0]}: its header is one name, so each row is one text, commas included")
    elif rivals:
        read = f"read with data.csv.delimiter={_name(taken)}"
        say(f"{lines.args[0]}: {read}; {_name(rivals[0])} fits as well")
    return dialect


def _in_header(lines: Lines, quoting: str) -> list[str]:
    """The delimiters that divide the header, that of most columns first; if none does, all of them."""
    widths = dict.fromkeys(DELIMITERS, 0)
    for one in DELIMITERS:
        with suppress(DataError):
            widths[one] = len(next(rows_of(lines, Dialect(one, quoting)), (0, []))[1])
    wide = [one for one in DELIMITERS if widths[one] > 1]
    return sorted(wide, key=lambda one: -widths[one]) or [*DELIMITERS, NO_DELIMITER]


def _quoting(lines: Lines, looks: Mapping[str, Look], likely: list[str]) -> Dialect:
    """Whether quotation marks belong to the texts, in a file that has some.

    They do not if the rows fit only because of them, or if they stand where CSV needs them. In a file
    with tabs they do otherwise, as in the files of GLUE.
    """
    plain, best = {one: _look(lines, Dialect(one, "none")) for one in looks}, likely[0]
    if not looks[best].fits:
        tab = plain.get("\t", Look())
        is_plain = tab.columns > 1 and not tab.header and tab.rows > looks[best].rows
        return Dialect("\t", "none") if is_plain else Dialect(best, "minimal")
    for one in likely:
        if not plain[one].fits or plain[one].columns != looks[one].columns:
            return Dialect(one, "minimal")
    if not plain[best].quoted or plain[best].header or plain[best].doubled:
        return Dialect(best, "minimal")
    quoting, other, part = ("none", "minimal", "") if best == "\t" else ("minimal", "none", "no ")
    say(
        f"{lines.args[0]}: quotation marks around cells are read as {part}part of the texts; set "
        f"data.csv.quoting={other} if that is wrong"
    )
    return Dialect(best, quoting)


def _name(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else repr(delimiter)
