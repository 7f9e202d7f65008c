"""Small files of every kind, written by other libraries: each gives what was written, or one message."""

import bz2
import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from conftest import composed
from expkit.config.data_files import problems_of
from expkit.config.fingerprint import digest_of_files
from expkit.data.files import Reading, load, read
from expkit.data.splits import Splits
from expkit.terminal.errors import DataError

ROWS = [
    {"text": 'Größe; «quoted», 5" | x', "label": "007"},
    {"text": "二行\nの文\t", "label": "NA"},
    {"text": "", "label": "true"},
    {"text": " 1e3 ", "label": 'say "hi"'},
]
FRAME = pd.DataFrame(ROWS)
SENTENCES = [(["New York", "ist", "groß"], ["B-LOC", "O", "O"]), (["Anna"], ["B-PER"])]
TAGGED = [{"id": str(i), "tokens": w, "ner_tags": t} for i, (w, t) in enumerate(SENTENCES)]
GLUE = [{"id": "1", "text": '"Yes, he said'}, {"id": "2", "text": 'no"'}, {"id": "3", "text": '"x" y'}]  # fmt: skip
LATIN = [{"text": "schöne Grüße", "label": "a"}, {"text": "Ça va", "label": "b"}]


def csv_of(records: list[dict[str, str]] = ROWS, **dialect: Any) -> str:
    stream = io.StringIO(newline="")
    rows = csv.DictWriter(stream, list(records[0]), **dialect)
    rows.writeheader()
    rows.writerows(records)
    return stream.getvalue()


def unquoted(records: list[dict[str, str]], delimiter: str) -> str:
    return "\n".join(delimiter.join(cells) for cells in [list(records[0]), *(r.values() for r in records)])  # fmt: skip


def lines(records: list[dict[str, str]] = ROWS) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)


def arrow(format: Callable[..., Any]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(ROWS)
    with format(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def in_memory(write: Callable[[Any], Any]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def parquet() -> bytes:
    return in_memory(FRAME.to_parquet)


def columns(gap: str = "\t", end: str = "\n", row: str = "{word}{gap}X{gap}{tag}") -> str:
    sentences = []
    for words, tags in SENTENCES:
        numbered = enumerate(zip(words, tags, strict=True), start=1)
        sentences.append(end.join(row.format(word=w, tag=t, gap=gap, i=i) for i, (w, t) in numbered))  # fmt: skip
    return (end * 2).join(sentences)


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


CONLLU = "{i}\t{word}\t_\tX\t_\t_\t0\troot\t_\t{tag}"
RANGES = (
    "# text = x\n1-2\tim\t_\tO\n" + "1\tin\tA\tO\n2\tdem\tB\tO\n2.1\tx\t_\tO\n\n1\tBonn\tC\tB-LOC"
)
IN_RANGES = [{"id": "0", "tokens": ["in", "dem"], "ner_tags": ["O", "O"]}, {"id": "1", "tokens": ["Bonn"], "ner_tags": ["B-LOC"]}]  # fmt: skip

# (name, content, what it holds, how it is read)
Case = tuple[str, bytes, list[dict[str, Any]], Reading]
plain = Reading()
READ: list[Case] = [
    ("a.jsonl", lines().encode(), ROWS, plain),
    ("a.ndjson", lines().encode("utf-8-sig"), ROWS, plain),
    ("a.jsonl.gz", gzip.compress(lines().encode()), ROWS, plain),
    ("A.JSONL.GZ", gzip.compress(lines().encode()), ROWS, plain),
    ("a.jsonl.bz2", bz2.compress(lines().encode()), ROWS, plain),
    ("a.jsonl.zst", zstd(lines().encode()), ROWS, plain),
    ("twice.jsonl.gz", gzip.compress(lines(ROWS[:2]).encode() + b"\n") + gzip.compress(lines(ROWS[2:]).encode()), ROWS, plain),
    ("a.jsonl", lines().encode("utf-16"), ROWS, plain),
    ("a.json", json.dumps(ROWS).encode(), ROWS, plain),
    ("a.json", json.dumps({"version": 1, "data": ROWS}, indent=1).encode(), ROWS, plain),
    ("a.json", FRAME.to_json(orient="records").encode(), ROWS, plain),
    ("a.json", json.dumps(FRAME.to_dict(orient="list")).encode(), ROWS, plain),
    ("lines.json", FRAME.to_json(orient="records", lines=True).encode(), ROWS, plain),
    ("one.json", json.dumps(ROWS[0]).encode(), ROWS[:1], plain),
    ("a.json.zst", zstd(json.dumps(ROWS).encode("utf-16")), ROWS, plain),
    ("a.csv", csv_of().encode(), ROWS, plain),
    ("TRAIN.CSV", csv_of(lineterminator="\n").encode("utf-8-sig"), ROWS, plain),
    ("a.csv", csv_of(delimiter=";").encode(), ROWS, plain),
    ("a.csv", csv_of(delimiter="|", quoting=csv.QUOTE_ALL).encode(), ROWS, plain),
    ("a.tsv", csv_of(delimiter="\t").encode(), ROWS, plain),
    ("a.csv", FRAME.to_csv(index=False, sep="\t", quoting=csv.QUOTE_ALL).encode(), ROWS, plain),
    ("a.csv", csv_of().encode("utf-16"), ROWS, plain),
    ("a.csv", csv_of().encode("utf-32"), ROWS, plain),
    ("a.csv", csv_of().encode("utf-16-le"), ROWS, Reading("utf-16-le")),
    ("a.csv.gz", gzip.compress(csv_of(delimiter=";").encode("utf-16")), ROWS, plain),
    ("a.csv.bz2", bz2.compress(FRAME.to_csv(index=False).encode()), ROWS, plain),
    ("a.tsv.zst", zstd(csv_of(delimiter="\t").encode()), ROWS, plain),
    ("a.csv", csv_of(LATIN).encode("cp1252"), LATIN, Reading("cp1252")),
    ("a.csv", csv_of(LATIN).encode("utf-8-sig"), LATIN, Reading("cp1252")),
    ("a.csv", csv_of(delimiter="^").encode(), ROWS, Reading(csv={"delimiter": "^"})),
    ("glue.tsv", unquoted(GLUE, "\t").encode(), GLUE, plain),
    ("a.csv", unquoted(GLUE, ";").encode(), GLUE, Reading(csv={"quoting": "none"})),
    ("doubled.tsv", csv_of(ROWS[3:], delimiter="\t").encode(), ROWS[3:], plain),
    ("one.csv", csv_of([{"text": r["text"]} for r in ROWS]).encode(), [{"text": r["text"]} for r in ROWS], plain),
    ("one.csv", b"text\nyes, really\n\nso | so; so\t.\n", [{"text": "yes, really"}, {"text": "so | so; so\t."}], plain),
    ("a.txt", "eins\r\n\r\n　zwei ö".encode(), [{"text": "eins"}, {"text": "　zwei ö"}], plain),
    ("a.txt.gz", gzip.compress("eins\nzwei".encode("utf-16")), [{"text": "eins"}, {"text": "zwei"}], plain),
    ("a.parquet", parquet(), ROWS, plain),
    ("a.PARQUET", parquet(), ROWS, plain),
    ("a.parquet.gz", gzip.compress(parquet()), ROWS, plain),
    ("a.arrow", arrow(pa.ipc.new_file), ROWS, plain),
    ("a.arrow", arrow(pa.ipc.new_stream), ROWS, plain),
    ("a.arrow.zst", zstd(arrow(pa.ipc.new_stream)), ROWS, plain),
    ("a.feather", in_memory(FRAME.to_feather), ROWS, plain),
    ("a.conll", columns().encode(), TAGGED, plain),
    ("a.bio", columns(end="\r\n").encode("utf-16"), TAGGED, plain),
    ("a.IOB2", ("-DOCSTART- -X- O\n\n" + columns().replace("New York", "York")).encode(), [{**TAGGED[0], "tokens": ["York", "ist", "groß"]}, TAGGED[1]], plain),
    ("a.conll.gz", gzip.compress(columns().encode("latin-1")), TAGGED, Reading("latin-1")),
    ("a.conll", columns(row="{tag}{gap}{word}").encode(), TAGGED, Reading(conll={"columns": ["tag", "word"]})),
    ("a.conllu", columns(row=CONLLU).encode(), TAGGED, Reading(conll={"columns": ["id", "word", *"_______", "tag"]})),
    ("a.conllu", RANGES.encode(), IN_RANGES, Reading(conll={"columns": ["id", "word", "_", "tag"]})),
    ("train.txt", columns().encode(), TAGGED, plain),
    ("train.txt", columns(row="{tag}{gap}{word}").encode(), TAGGED, Reading(conll={"columns": ["tag", "word"]})),
]  # fmt: skip

# (name, content, what the message says)
REFUSED: list[tuple[str, bytes, str]] = [
    ("a.csv", b"", "is empty"),
    ("a.csv.gz", gzip.compress(b""), "is empty"),
    ("a.csv", b"text,label\n", "is empty"),
    ("a.csv", b"a,b,a\n1,2,3\n", "line 1: two columns have the name 'a'"),
    ("a.csv", b"a;b\n1;2\n1;2;3\n", "line 3: expected 2 columns (a, b), found more; read with data.csv.delimiter=';'"),
    ("a.csv", b'a,b\n1,"2\n', "line 2: not CSV: unexpected end of data; if quotation marks are part of the texts, set data.csv.quoting=none"),
    ("a.csv", csv_of(LATIN).encode("cp1252"), "line 2: not UTF-8 text; if it is text in another encoding, name that, such as data.encoding=cp1252"),
    ("a.csv", "text\nx\n".encode("utf-16-le"), "line 1: holds a NUL"),
    ("a.csv", gzip.compress(csv_of().encode()), "line 1: not UTF-8 text"),
    ("a.csv", parquet(), "line 1: "),
    ("a.csv.gz", gzip.compress(csv_of().encode())[:-9], "cannot be read: Truncated compressed stream"),
    ("a.csv.gz", csv_of().encode(), "cannot be read: zlib inflate failed"),
    ("a.parquet.gz", gzip.compress(parquet())[:-9], "Truncated"),
    ("a.arrow", csv_of().encode(), "not Arrow"),
    ("a.arrow", arrow(pa.ipc.new_stream)[:-90], "not Arrow"),
    ("a.parquet", arrow(pa.ipc.new_file), "not Parquet"),
    ("a.jsonl", b'{"a": 1, "b": 2, "a": 3}', "line 1: an object has two values of the name 'a'"),
    ("a.json", b'{"a": 1}\n{"a": 2', "line 2: not JSON"),
    ("a.json", b'{"a": [1, 2], "b": [1]}', "not equally long"),
    ("a.json", b'["x"]', "record 1: expected an object"),
    ("a.xlsx", b"PK", "unknown kind of file; allowed: .jsonl, .json, .csv"),
    ("a.gz", b"", "unknown kind of file"),
]  # fmt: skip


@pytest.mark.parametrize("case", READ, ids=[f"{i}-{case[0]}" for i, case in enumerate(READ)])
def test_what_was_written_is_read(case: Case, tmp_path: Path) -> None:
    name, content, records, reading = case
    (tmp_path / name).write_bytes(content)
    split = read(tmp_path / name, reading=reading)
    assert list(split) == records
    assert split.where(len(records) - 1).startswith(f"{tmp_path / name}, ")


@pytest.mark.parametrize(
    ("name", "content", "message"), REFUSED, ids=[f"{i}-{one[0]}" for i, one in enumerate(REFUSED)]
)
def test_what_cannot_be_read_is_one_message(
    name: str, content: bytes, message: str, project: Path
) -> None:
    (project / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        read(project / name)
    assert message in str(raised.value)
    assert str(project / name) in str(raised.value)
    assert sorted(path.name for path in project.iterdir()) == sorted([name, "outputs"])


# Several files of one split.


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with two files as Spark leaves them."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "part-0.csv").write_text(csv_of(ROWS[:2], lineterminator="\n"))
    (folder / "part-1.csv.gz").write_bytes(gzip.compress(csv_of(ROWS[2:]).encode()))
    for name in ("_SUCCESS", ".part-0.csv.crc"):
        (folder / name).write_text("")
    return folder


def test_several_files_are_one_split(parts: Path) -> None:
    files = [str(parts / "part-0.csv"), str(parts / "part-1.csv.gz")]
    for given in (files, str(parts), f"{parts}/part-*"):
        split = read(given)
        assert list(split) == ROWS
        assert [split.where(i) for i in (0, 1, 2)] == [f"{files[0]}, line 2", f"{files[0]}, line 3", f"{files[1]}, line 2"]  # fmt: skip
    assert list(read(files[::-1])) == ROWS[2:] + ROWS[:2]
    assert len({read(given).digest for given in (files, files[::-1], files[0])}) == 3
    assert list(read(files, limit=3)) == ROWS[:3]
    assert len(read(files, limit=2)) == 2


def test_files_of_one_split_have_the_same_columns(parts: Path) -> None:
    (parts / "part-2.csv").write_text("text,stars\nx,1\n")
    message = (
        rf"part-2.csv, line 2: columns differ from those of {parts}/part-0.csv in 'label', 'stars'"
    )
    with pytest.raises(DataError, match=message):
        read(str(parts))


def test_files_of_one_split_have_the_same_class_labels(tmp_path: Path) -> None:
    for name, labels in (("a", ["no", "yes"]), ("b", ["yes", "no"])):
        features = Features({"text": Value("string"), "label": ClassLabel(names=labels)})
        rows = Dataset.from_dict({"text": ["x"], "label": [0]}, features)
        rows.to_parquet(tmp_path / f"{name}.parquet")
        rows.save_to_disk(tmp_path / name)
    with pytest.raises(DataError, match=r"b.parquet: its columns are described in another way"):
        read(f"{tmp_path}/*.parquet")
    saved = read(f"{tmp_path}/b/*.arrow")
    assert saved.rows.features["label"].names == ["yes", "no"]
    with pytest.raises(DataError, match=r"state.json: is of another kind|dataset_info.json: is of"):
        read(str(tmp_path / "b"))


# name: (what is given, which name the message says is wrong, and why)
NOTHING = {
    "an empty folder": ("{}/empty", "{}/empty", "is a folder without files"),
    "a pattern without files": ("{}/x*.csv", "{}/x*.csv", "no such file; in {}: allowed: a.csv, b.json"),
    "an empty list": ([], "[]", "names no file"),
    "an empty name": ("", "", "names no file"),
    "a file that is not there": (["{}/a.csv", "{}/c.csv"], "{}/c.csv", "no such file"),
    "two kinds": ("{}/*", "{}/b.json", "is of another kind than a.csv; name files of one kind by a pattern, such as '{}/*.csv'"),
    "a folder in a folder": ("{}/..", None, "is a folder among files"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "name", "why"), NOTHING.values(), ids=list(NOTHING))
def test_names_that_stand_for_no_data(
    given: Any, name: str | None, why: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    (folder / "empty").mkdir(parents=True)
    for file in ("a.csv", "b.json"):
        (folder / file).write_text("text\nx\n")
    here = (
        [one.format(folder) for one in given] if isinstance(given, list) else given.format(folder)
    )
    ((found, reason),) = problems_of(here)
    assert name is None or found == name.format(folder)
    assert why.format(folder) in reason
    with pytest.raises(DataError, match=re.escape(reason)):
        read(here)


def test_what_decides_the_records_is_in_the_digest(tmp_path: Path) -> None:
    content = 'text;x\n"a";b\n'
    names = ["a.csv", "b.CSV", "c.tsv", "d.txt"]
    for name in names:
        (tmp_path / name).write_text(content)
    digests = [read(tmp_path / name).digest for name in names]
    assert len(set(digests)) == 2
    assert len({digest_of_files(str(tmp_path / name)) for name in names}) == 2
    options = [Reading(), Reading("latin-1"), Reading(csv={"quoting": "none"}), Reading(csv={"delimiter": ";"})]  # fmt: skip
    assert len({read(tmp_path / "a.csv", reading=one).digest for one in options}) == 4


def test_the_settings_of_a_configuration_read_as_those_of_a_run(tmp_path: Path) -> None:
    """Else a file would have another digest when it is read for `predict`."""
    file = tmp_path / "a.conll"
    file.write_text("x B-X\n")
    data = composed("data=files", f"data.train_file={file}", f"data.validation_file={file}", "data.conll.columns=[word,tag]").data  # fmt: skip
    conll = {"columns": ["word", "tag"]}
    of_run = load(str(file), str(file), csv={"delimiter": None, "quoting": None}, conll=conll)
    assert isinstance(of_run, Splits)
    assert read(file, reading=Reading.of(data)).digest == of_run.train.digest


# What can be read in two ways is told.

TOLD = {
    "a.tsv": ('id\ttext\n1\t"Yes"\n', 'data.csv.quoting=minimal', '"Yes"'),
    "b.csv": ('id,text\n1,"Yes"\n', 'data.csv.quoting=none', "Yes"),
    "c.csv": ("text\na, b\n", "its header is one name", "a, b"),
    "d.csv": ("id;x,text\n1;2,3\n", "';' fits as well", "3"),
    "e.json": ('{"text": ["a", "b"]}', "each list is read as a column", "a"),
    "f.txt": ("Anna B-PER\n", "words and tags", ["B-PER"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_a_file_that_can_be_read_in_two_ways(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, told, value = TOLD[name]
    (tmp_path / name).write_text(content)
    records = list(read(tmp_path / name))
    assert list(records[0].values())[-1] == value
    assert told in capsys.readouterr().out


def test_usual_files_are_read_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (csv_of(), csv_of(quoting=csv.QUOTE_ALL), csv_of(delimiter="\t"), csv_of(ROWS[3:]), "text,x\na b,c\n", "text\nx\n"):  # fmt: skip
        (tmp_path / "a.csv").write_text(content, newline="")
        read(tmp_path / "a.csv")
    assert capsys.readouterr().out == ""
