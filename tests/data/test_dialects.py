"""Tables come back as they were written, whatever dialect of CSV their writer took."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from expkit.data.files import Reading, read

ALL = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]
# Python's writer does not quote a carriage return unless it ends lines.
PIECES = [",", ";", "\t", "|", '"', '""', "\n", " ", "a", "ß", "二", "é", "007", "1e3", "NA", "true", "'", "#", "\\", "\u2028", "\x0b"]  # fmt: skip
CELLS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
NAMES = st.lists(st.sampled_from(["text", "label", "ü", " x", "a b", '"', "'"]), min_size=1).map("".join)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table and how it is written; a delimiter or an end of a line never stands in a name."""

    names: list[str]
    rows: list[list[str]]
    delimiter: str
    quoting: int
    line_end: str
    by_pandas: bool

    def text(self) -> str:
        stream = io.StringIO(newline="")
        if self.by_pandas:
            pd.DataFrame(self.rows, columns=self.names, dtype=str).to_csv(
                stream,
                index=False,
                sep=self.delimiter,
                quoting=self.quoting,  # type: ignore[arg-type]
                lineterminator=self.line_end,
            )
        else:
            writer = csv.writer(
                stream,
                delimiter=self.delimiter,
                quoting=self.quoting,  # type: ignore[arg-type]
                lineterminator=self.line_end,
            )
            writer.writerows([self.names, *self.rows])
        return stream.getvalue()

    def records(self) -> list[dict[str, str]]:
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    row = st.lists(CELLS, min_size=len(names), max_size=len(names))
    return Table(
        names,
        draw(st.lists(row, min_size=1, max_size=6)),
        draw(st.sampled_from([",", ";", "\t", "|"])),
        draw(st.sampled_from(ALL)),
        draw(st.sampled_from(["\n", "\r\n"])),
        draw(st.booleans()),
    )


def found(file: Path, text: str, capsys: pytest.CaptureFixture[str], **options: str) -> tuple[list[dict[str, str]], str]:  # fmt: skip
    file.write_bytes(text.encode())
    capsys.readouterr()
    records = list(read(file, reading=Reading(csv=options)))
    return records, capsys.readouterr().out


def check_quoted(table: Table, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, text = folder / "a.csv", table.text()
    records, said = found(file, text, capsys)
    event("said" if said else "plain")
    # A file that has another meaning as well may be read by that, if a line says so.
    assert records == table.records() or str(file) in said
    delimiter = "tab" if table.delimiter == "\t" else table.delimiter
    given, _ = found(file, text, capsys, delimiter=delimiter, quoting="minimal")
    assert given == table.records()


def check_unquoted(table: Table, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As GLUE writes its files: between tabs, and every quotation mark is part of a text."""
    file = folder / "a.tsv"
    rows = [["x", *(re.sub(r"[\t\n]", " ", cell) for cell in row)] for row in table.rows]
    # Two in a row are how CSV writes one.
    rows = [[re.sub('"+', '"', cell) for cell in row] for row in rows]
    names = ["id", *(name.replace('"', "'") + str(i) for i, name in enumerate(table.names))]
    text = "".join("\t".join(cells) + table.line_end for cells in [names, *rows])
    records, said = found(file, text, capsys)
    assert records == [dict(zip(names, row, strict=True)) for row in rows], said


def many(examples: int) -> settings:
    return settings(
        max_examples=examples,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@many(200)
@given(tables())
def test_tables_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str], table: Table) -> None:
    check_quoted(table, tmp_path, capsys)


@many(200)
@given(tables())
def test_unquoted_tables_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: Table
) -> None:
    check_unquoted(table, tmp_path, capsys)


@pytest.mark.slow
@many(2_000)
@given(tables())
def test_two_thousand_tables_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: Table
) -> None:
    check_quoted(table, tmp_path, capsys)
    check_unquoted(table, tmp_path, capsys)
