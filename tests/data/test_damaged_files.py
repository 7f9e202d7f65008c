"""A damaged file is read as far as it is sound, or one message names it and the line."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import PretrainedConfig

from conftest import encoded_by
from expkit.data.files import load, read
from expkit.data.splits import Record, Splits
from expkit.models.scratch import TinyBert
from expkit.tasks.masked_lm import MaskedLM
from expkit.tasks.text_classification import TextClassification
from expkit.tasks.token_classification import TokenClassification
from expkit.tasks.translation import Translation
from expkit.terminal.errors import DataError
from fuzzing import fuzzed, line_in

pytestmark = pytest.mark.fuzz

TEXTS: list[Record] = [
    {"text": "A film, “good”", "label": "a"},
    {"text": "二行の文。", "label": "b"},
    {"text": "", "label": "a"},
    {"text": 'Said "no"; größer', "label": "b"},
    {"text": "x" * 30, "label": "a"},
]
TAGGED: list[Record] = [
    {"tokens": ["Ann", "saw", "Rome"], "ner_tags": ["B-PER", "O", "B-LOC"]},
    {"tokens": ["日本", "へ"], "ner_tags": ["B-LOC", "O"]},
    {"tokens": ["größer"], "ner_tags": ["O"]},
    {"tokens": ["New", "York"], "ner_tags": ["B-LOC", "I-LOC"]},
]
PAIRS: list[Record] = [
    {"zh": "你好吗？", "ja": "お元気ですか。"},
    {"zh": "好。", "ja": "はい。"},
] * 2
TOKENIZER = TinyBert(200, 16, 1, 2, 0.0).tokenizer(["ann saw rome new york a film good said no"])
TOKENIZER.model_max_length = 32

KINDS = {
    ".jsonl": "line",
    ".csv": "line",
    ".conll": "line",
    ".json": "record",
    ".parquet": "record",
}
LINE_END = re.compile(rb"\r\n|\r|\n")

Damage = Callable[[bytes], bytes]


# What is written, and what is done with it.


def jsonl(records: Sequence[Any]) -> bytes:
    return "".join(f"{json.dumps(r, ensure_ascii=False)}\n" for r in records).encode()


def as_csv(records: Sequence[Record]) -> bytes:
    stream = io.StringIO(newline="")
    rows = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(records)
    return stream.getvalue().encode()


def conll(records: Sequence[Record]) -> bytes:
    sentences = (
        "".join(f"{word} {tag}\n" for word, tag in zip(r["tokens"], r["ner_tags"], strict=True))
        for r in records
    )
    return "\n".join(sentences).encode()


def parquet(records: Sequence[Record]) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(records)), stream)
    return stream.getvalue()


WRITERS: dict[str, Callable[[Sequence[Any]], bytes]] = {
    ".jsonl": jsonl,
    ".json": lambda records: json.dumps(records, ensure_ascii=False, indent=1).encode(),
    ".csv": as_csv,
    ".conll": conll,
    ".parquet": parquet,
}


def classify() -> Any:
    return TextClassification(["text"], "label", None, 32, {})


def tag() -> Any:
    return TokenClassification("tokens", "ner_tags", None, False, 32, 8, {})


# (records, the task that takes them, the formats that can hold them)
TASKS: list[tuple[list[Record], Callable[[], Any], list[str]]] = [
    (TEXTS, classify, [".jsonl", ".json", ".csv", ".parquet"]),
    (TAGGED, tag, [".jsonl", ".json", ".conll", ".parquet"]),
    (TEXTS, lambda: MaskedLM("text", 8, 0.15, False, "en", "keep", {}), [".jsonl", ".csv"]),
    (PAIRS, lambda: Translation("zh", "ja", None, 32, 1, 8, 1.0, {}), [".jsonl", ".csv"]),
]
CASES = [(suffix, records, make) for records, make, suffixes in TASKS for suffix in suffixes]


def write(folder: Path, suffix: str, content: bytes) -> Path:
    file = folder / f"data{suffix}"
    file.write_bytes(content)
    return file


def used(file: Path, make: Callable[[], Any]) -> Splits:
    """What a run does with its files until the model comes."""
    splits = load(str(file), str(file), None, None, None)
    task = make()
    task.setup(splits)
    if not isinstance(task, Translation):  # which needs another kind of tokenizer
        list(task.texts(splits.train))
        encoded_by(task.encode(splits.train, TOKENIZER, PretrainedConfig()))
    return splits


def complaint(file: Path, make: Callable[[], Any]) -> str:
    """The message, or nothing if the file can be used."""
    try:
        used(file, make)
    except DataError as error:
        return str(error)
    return ""


# Damage at random places: the file is read as others read it, or refused.


def cut(content: bytes, at: int) -> bytes:
    return content[: at % (len(content) + 1)]


def replaced(content: bytes, at: int, by: bytes) -> bytes:
    at %= len(content) + 1
    return content[:at] + by + content[at + len(by) :]


def inserted(content: bytes, at: int, what: bytes) -> bytes:
    at %= len(content) + 1
    return content[:at] + what + content[at:]


def repeated(content: bytes, at: int, length: int) -> bytes:
    at %= len(content) + 1
    return content[:at] + content[at : at + length] * 2 + content[at + length :]


def encoded(content: bytes, codec: str) -> bytes:
    return content.decode(errors="replace").encode(codec, errors="replace")


def with_line_ends(content: bytes, end: bytes) -> bytes:
    return content.replace(b"\n", end)


ODD_BYTES = [b"\0", b"\0" * 9, b"\xff", b"\xe9", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\r\n", b"\n\n\n", b'"', b'"\n', b",", b"\t", b" ", b"{", b"[" * 3000, b"}", b"]", b"\\", b"\\ud800", b"\\u0000", b"null", b"NaN", b"1e999", b"-", b"9" * 30, b"9" * 5000, b"{}", b'"a":1,', b"#", b"-DOCSTART-", b" B-", "\u2028\x85\x0b".encode(), b"z" * 200_000]  # fmt: skip
places = st.integers(0, 2_000)
damages: st.SearchStrategy[Damage] = st.one_of(
    st.builds(lambda at: lambda c: cut(c, at), places),
    st.builds(
        lambda at, by: lambda c: replaced(c, at, by), places, st.binary(min_size=1, max_size=4)
    ),
    st.builds(lambda at, by: lambda c: replaced(c, at, by), places, st.sampled_from(ODD_BYTES)),
    st.builds(lambda at, by: lambda c: inserted(c, at, by), places, st.sampled_from(ODD_BYTES)),
    st.builds(lambda at, n: lambda c: repeated(c, at, n), places, st.integers(1, 60)),
    st.builds(
        lambda at, n: lambda c: c[: at % (len(c) + 1)] + c[at % (len(c) + 1) + n :],
        places,
        st.integers(1, 60),
    ),
    st.sampled_from(
        ["latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "gb18030", "shift-jis"]
    ).map(lambda codec: lambda c: encoded(c, codec)),
    st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\n\r", b" \n", b""]).map(
        lambda end: lambda c: with_line_ends(c, end)
    ),
    st.sampled_from([b"", b"\n", b"\r\n\r\n", b" \n\t\n", b"\0", b"[]", b"{}", b"PAR1"]).map(
        lambda whole: lambda c: whole
    ),
)


def sound_lines(content: bytes) -> tuple[list[Any], set[int]]:
    """The values of JSON Lines as Python's json reads each, and the lines where it cannot."""
    values, wrong = [], set()
    for number, line in enumerate(LINE_END.split(content.removeprefix(b"\xef\xbb\xbf")), start=1):
        try:
            if text := line.decode().strip():
                values.append(json.loads(text))
        except (ValueError, RecursionError):
            wrong.add(number)
    return values, wrong


def in_utf8(content: bytes) -> bytes:
    """The same text in UTF-8 with its mark, if the content begins with the mark of UTF-16 or UTF-32."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        codec = "utf-32" if content.startswith(b"\xff\xfe\0\0") else "utf-16"
        return content.decode(codec, errors="replace").encode("utf-8-sig")
    return content


def expected_of(suffix: str, content: bytes) -> list[Any] | None:
    """What other readers make of a file that Expkit takes; None where there is none to ask."""
    if suffix == ".jsonl":
        values, wrong = sound_lines(content)
        assert not wrong
        return values
    text = content.decode("utf-8-sig") if suffix != ".parquet" else ""
    if suffix == ".json":
        values = json.loads(text)
        return values.get("data", [values]) if isinstance(values, dict) else values
    if suffix == ".csv":
        csv.field_size_limit(2**31 - 1)
        header, *rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row
        ]
        if {len(row) for row in rows} != {len(header)}:
            return None  # not for commas, so it was read in another dialect
        return [dict(zip(header, row, strict=True)) for row in rows]
    return None


def same(one: Any, other: Any) -> bool:
    """Equal, but for whole numbers in a column with fractions, and what an object lacks."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(one.get(k), other.get(k)) for k in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


@fuzzed(300)
@given(case=st.sampled_from(CASES), damage=st.lists(damages, min_size=1, max_size=3))
def test_any_damage(
    case: tuple[str, list[Record], Callable[[], Any]], damage: list[Damage], project: Path
) -> None:
    suffix, records, make = case
    content = WRITERS[suffix](records)
    for one in damage:
        content = one(content)
    file = write(project, suffix, content)
    try:
        loaded = read(file)
    except DataError:
        pass
    else:
        expected = expected_of(suffix, in_utf8(content))
        assert expected is None or same(list(loaded), expected)
        assert [loaded.where(i) for i in range(len(loaded))]
    message = complaint(file, make)
    if not message:
        return
    assert str(file) in message
    assert len(message) < 5_000
    assert "Traceback" not in message
    line = line_in(message, file)
    whole_file = ("is empty", "has no column", "one label only", "every tag in", "tokenise to nothing", "fewer than one block", "a NUL in its name")  # fmt: skip
    if KINDS[suffix] == "line":
        assert line or any(words in message for words in whole_file), message
        assert (line or 1) <= len(LINE_END.split(content))
    if suffix == ".jsonl" and (wrong := sound_lines(in_utf8(content))[1]):
        elsewhere = ("expected an object", "is empty", "two values of the name")
        assert line in wrong or any(words in message for words in elsewhere)
    _require_printable(message)


def _require_printable(message: str) -> None:
    """The message is also written to a file of the run."""
    message.encode()


# Damage at one record: the message names its line.

DAMAGED_RECORDS: dict[str, Callable[[Record, str], Any]] = {
    "a number": lambda r, key: {**r, key: 5},
    "a fraction": lambda r, key: {**r, key: 0.5},
    "a truth value": lambda r, key: {**r, key: True},
    "null": lambda r, key: {**r, key: None},
    "NaN": lambda r, key: {**r, key: float("nan")},
    "a list in a list": lambda r, key: {**r, key: [[r[key]]]},
    "an object": lambda r, key: {**r, key: {"a": r[key]}},
    "a whole number beyond 64 bits": lambda r, key: {**r, key: 10**30},
    "a whole number of 5000 digits": lambda r, key: Raw(f'{{"{key}": {"9" * 5000}}}'),
    "half a character": lambda r, key: {**r, key: "\ud800"},
    "deep nesting": lambda r, key: Raw(f'{{"{key}": {"[" * 800}{"]" * 800}}}'),
    "very deep nesting": lambda r, key: Raw(f'{{"{key}": {"[" * 9000}{"]" * 9000}}}'),
    "a missing column": lambda r, key: {k: v for k, v in r.items() if k != key},
    "no column": lambda r, key: {},
    "no object": lambda r, key: list(r.values()),
    "a cut line": lambda r, key: Raw(json.dumps(r, ensure_ascii=False)[:-3]),
    "a line of 1 MB without an end": lambda r, key: Raw('{"text": "' + "x" * 1_000_000),
    "a NUL": lambda r, key: Raw(json.dumps(r)[:-2] + "\0" + json.dumps(r)[-2:]),
    "a byte order mark": lambda r, key: Raw("\ufeff" + json.dumps(r)),
    "two records": lambda r, key: Raw(json.dumps(r) * 2),
    "latin-1": lambda r, key: Raw('{"é": 1}', "latin-1"),
}


class Raw:
    """A line as it is, in another encoding if need be."""

    def __init__(self, text: str, encoding: str = "utf-8") -> None:
        self.bytes = text.encode(encoding)


def line_of(record: Any) -> bytes:
    return record.bytes if isinstance(record, Raw) else json.dumps(record).encode()


@fuzzed(100)
@given(
    records_and_task=st.sampled_from([(TEXTS, classify), (TAGGED, tag)]),
    name=st.sampled_from(sorted(DAMAGED_RECORDS)),
    at=st.integers(0, 5_000),
    column=st.integers(0, 1),
    copies=st.sampled_from([1, 1, 1, 200]),
    blank=st.integers(0, 2),
    start=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_the_line_of_a_damaged_record_is_named(
    records_and_task: tuple[list[Record], Callable[[], Any]],
    name: str,
    at: int,
    column: int,
    copies: int,
    blank: int,
    start: bytes,
    end: bytes,
    project: Path,
) -> None:
    records, make = records_and_task
    many: list[Any] = list(records * copies)
    at = 1 + at % (len(many) - 1)  # what is odd is odd beside the first record
    key = list(records[0])[column]
    many[at] = DAMAGED_RECORDS[name](many[at], key)
    lines = [line for record in many for line in (line_of(record), *[b""] * blank)]
    file = write(project, ".jsonl", start + end.join(lines))
    assert line_in(complaint(file, make), file) == 1 + at * (blank + 1)


DAMAGED_ROWS = {
    "an open quote": b'"never closed,a',
    "a character behind a quote": b'"x"y,a',
    "a cell too few": b"alone",
    "a cell too many": b"x,a,b",
    "latin-1": "é,a".encode("latin-1"),
}


@fuzzed(100)
@given(
    name=st.sampled_from(sorted(DAMAGED_ROWS)),
    before=st.lists(st.sampled_from([b"x,a", b'"two\nlines",b', b"", b'"a ""word""",a'])),
    after=st.lists(st.sampled_from([b"y,b", b'"two\nlines",b', b""])),
    start=st.sampled_from([b"", b"\xef\xbb\xbf", b"\n\n"]),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_the_line_of_a_damaged_row_is_named(
    name: str, before: list[bytes], after: list[bytes], start: bytes, end: bytes, project: Path
) -> None:
    rows = [b"text,label", *before]
    head = start + b"".join(row + end for row in rows)
    file = write(project, ".csv", head + end.join([DAMAGED_ROWS[name], *after]))
    with pytest.raises(DataError) as raised:
        read(file)
    assert line_in(str(raised.value), file) == len(LINE_END.split(head))


@fuzzed(100)
@given(
    line=st.sampled_from(
        [b"alone", b"x", "é O".encode("latin-1"), b"\xff\xfe O", b"z" * 1_000_000]
    ),
    at=st.integers(0, 100),
    start=st.sampled_from([b"", b"\xef\xbb\xbf", b"-DOCSTART- O\n\n"]),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_the_line_of_a_damaged_word_is_named(
    line: bytes, at: int, start: bytes, end: bytes, project: Path
) -> None:
    lines = (start + conll(TAGGED)).split(b"\n")
    at %= len(lines)
    assume(at > 0 or not start.startswith(b"\xef"))
    lines[at] = line
    file = write(project, ".conll", end.join(lines))
    with pytest.raises(DataError) as raised:
        read(file)
    assert line_in(str(raised.value), file) == at + 1


# What is no damage.


@pytest.mark.parametrize(("suffix", "records"), [(".jsonl", TEXTS), (".csv", TEXTS), (".conll", TAGGED), (".jsonl", TAGGED)])  # fmt: skip
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_and_byte_order_mark_change_nothing(
    suffix: str, records: list[Record], start: bytes, end: bytes, last: bool, tmp_path: Path
) -> None:
    content = WRITERS[suffix](records)
    plain = read(write(tmp_path, suffix, content))
    kept = content if last else content.rstrip(b"\n")
    other = read(write(tmp_path, suffix, start + kept.replace(b"\n", end)))
    assert _columns(list(plain)) == records
    assert list(other) == list(plain)
    assert [other.where(i) for i in range(len(other))] == [
        plain.where(i) for i in range(len(plain))
    ]


def _columns(records: list[Record]) -> list[Record]:
    return [{k: v for k, v in r.items() if k != "id"} for r in records]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_text_of_a_megabyte_is_a_text(suffix: str, project: Path) -> None:
    records = [*TEXTS, {"text": "wörd " * 200_000, "label": "b"}]
    file = write(project, suffix, WRITERS[suffix](records))
    assert list(used(file, classify).train) == records


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\r\n \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"]
)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".conll", ".txt"])
def test_a_file_of_nothing_is_empty(suffix: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        read(write(tmp_path, suffix, content))


@pytest.mark.parametrize("levels", [33, 100, 300, 900, 20_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_value_that_is_nested_too_deeply(
    suffix: str, opening: str, closing: str, levels: int, tmp_path: Path
) -> None:
    value = f'{{"text": {opening * levels}1{closing * levels}}}'
    file = write(tmp_path, suffix, (value if suffix == ".jsonl" else f"[{value}]").encode())
    with pytest.raises(DataError, match="nested") as raised:
        read(file)
    assert line_in(str(raised.value), file) == (1 if suffix == ".jsonl" or levels < 1000 else None)


def test_a_column_name_that_occurs_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: two columns have the name 'text'"):
        read(write(tmp_path, ".csv", b"text,label,text\na,b,c\n"))


def test_one_fraction_among_ids_is_the_one_that_is_named(project: Path) -> None:
    """Although its column then holds fractions alone."""
    records: list[Record] = [{"text": "x", "label": i % 2} for i in range(6)]
    records[4]["label"] = 0.5
    file = write(project, ".jsonl", jsonl(records))
    assert line_in(complaint(file, classify), file) == 5
    records[4]["label"] = 0.0
    assert complaint(write(project, ".jsonl", jsonl(records)), classify) == ""
