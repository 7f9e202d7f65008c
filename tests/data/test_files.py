"""Files of all four kinds give the same records."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from expkit.data.files import Reading, load, read
from expkit.tasks.tagging.tagged_columns import TaggedColumns
from expkit.terminal.errors import DataError

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
    "a cell too many": ("a.csv", b"a,b\nx,1,2\n", "line 2: expected 2 columns.*more"),
    "an open quote": ("a.csv", b'text\n"x\n', "not CSV"),
    "JSON without a list": ("a.json", b'"a"', "expected a list"),
    "not Parquet": ("a.parquet", b"PAR0", "not Parquet"),
    "a header alone": ("a.csv", b"text,label\n", "is empty"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=list(BROKEN))
def test_damaged_files_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


def test_the_same_bytes_read_in_another_way_have_another_digest(tmp_path: Path) -> None:
    """Else they would share an entry of the token cache."""
    content = 'text\n"line 0, the ""small"" house"\n'
    digests = set()
    for name in ("a.txt", "a.csv", "b.csv"):
        (tmp_path / name).write_text(content)
        digests.add(read(tmp_path / name).digest)
    assert len(digests) == 2  # the name of a file does not count
    (tmp_path / "a.conll").write_text("a B-X O\nb O O\n")
    columns = (["word", "tag", "_"], ["word", "_", "tag"])
    of_columns = {
        read(tmp_path / "a.conll", reading=Reading(conll={"columns": one})).digest
        for one in columns
    }
    assert len(of_columns) == 2
    assert len({read(tmp_path / "a.csv", limit=limit).digest for limit in (1, None)}) == 2


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = write(tmp_path, ".jsonl")
    splits = load("~/data.jsonl", "~/data.jsonl", None, None, None)
    assert splits.train.where(0) == f"{file}, line 1"


def test_names_of_class_labels_in_parquet(tmp_path: Path) -> None:
    names = ["O", "B-PER", "I-PER"]
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))}
    )
    records = {"tokens": [["Ann", "Lee", "sings"], ["la"]], "ner_tags": [[1, 2, 0], [0]]}
    Dataset.from_dict(records, features).to_parquet(tmp_path / "a.parquet")
    split = read(tmp_path / "a.parquet")
    assert list(split) == Dataset.from_dict(records).to_list()
    assert split.rows.features["ner_tags"].feature.names == names
    columns = TaggedColumns("tokens", "ner_tags", ())
    assert columns.given(split) == [["B-PER", "I-PER", "O"], ["O"]]
    # Names in another order are no new names for the ids.
    columns = TaggedColumns("tokens", "ner_tags", ["O", "I-PER", "B-PER"])
    assert columns.given(split) == [["B-PER", "I-PER", "O"], ["O"]]
    columns = TaggedColumns("tokens", "ner_tags", ["O", "B-Person", "I-Person"])
    assert columns.given(split) == [["B-Person", "I-Person", "O"], ["O"]]
