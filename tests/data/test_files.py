"""Files of all four kinds give the same records."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from expkit.data.files import load, read
from expkit.errors import DataError

RECORDS = [{"text": "Größe, «quoted»", "label": "a"}, {"text": "二行\nの文", "label": "b"}]


def write(folder: Path, suffix: str) -> Path:
    file = folder / f"data{suffix}"
    if suffix == ".jsonl":
        file.write_text("\n\n".join(json.dumps(r, ensure_ascii=False) for r in RECORDS))
    elif suffix == ".json":
        file.write_text(json.dumps({"data": RECORDS}))
    elif suffix == ".csv":
        file.write_text('text,label\n"Größe, «quoted»",a\n"二行\nの文",b\n')
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist(RECORDS), file)
    return file


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_same_records(suffix: str, tmp_path: Path) -> None:
    split = read(write(tmp_path, suffix))
    assert list(split) == RECORDS
    assert split.name == "data"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_byte_order_mark_and_windows_line_ends(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"data{suffix}"
    text = '{"text": "a"}\n{"text": "b"}\n' if suffix == ".jsonl" else "text\na\nb\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert [record["text"] for record in read(file)] == ["a", "b"]


def test_place_of_a_record_is_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, ".jsonl")
    assert read(file).where(1) == f"{file}, line 3"


def test_limits_take_the_first_records_and_change_the_digest(tmp_path: Path) -> None:
    file = str(write(tmp_path, ".jsonl"))
    splits = load(file, file, None, max_train_examples=1, max_eval_examples=None)
    assert (len(splits.train), len(splits.validation)) == (1, 2)
    assert splits.train.digest != splits.validation.digest


def test_digest_follows_the_content(tmp_path: Path) -> None:
    file = write(tmp_path, ".jsonl")
    before = read(file).digest
    file.write_text(file.read_text().replace("Größe", "Grösse"))
    assert read(file).digest != before


BROKEN = {
    "not UTF-8": ("a.jsonl", '{"text": "é"}'.encode("latin-1"), "not UTF-8"),
    "a cell too few": ("a.csv", b"text,label\nx,1\ny\n", "line 3: expected 2 columns.*fewer"),
    "a cell too many": ("a.csv", b"text\nx,1\n", "line 2: expected 1 columns.*more"),
    "an open quote": ("a.csv", b'text\n"x\n', "not CSV"),
    "JSON without a list": ("a.json", b'{"text": "a"}', "expected a list"),
    "not Parquet": ("a.parquet", b"PAR0", "not Parquet"),
    "a header alone": ("a.csv", b"text,label\n", "is empty"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=list(BROKEN))
def test_damaged_files_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
