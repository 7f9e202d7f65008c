"""Data are read and encoded chunk by chunk: where one ends must not show."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from conftest import SMALL_TASKS, composed, encoded_by
from expkit.config.components import make
from expkit.data import arrow_files, files, splits, table
from expkit.tasks import masked_lm, token_classification, translation
from expkit.terminal.errors import DataError
from expkit.training.prepared import build_base


def use_chunks_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arrow_files, table, splits, masked_lm, token_classification, translation):
        monkeypatch.setattr(module, "CHUNK", size)


@pytest.mark.parametrize("task_name", SMALL_TASKS)
def test_chunks_of_any_size_give_the_same(
    task_name: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cfg = composed(*SMALL_TASKS[task_name])
    data = make(cfg, "data")
    task = make(cfg, "task")
    task.setup(data)
    builder = make(cfg, "model")
    tokenizer = builder.tokenizer(splits.Texts(lambda: task.texts(data.train), "digest"))
    config = build_base(cfg, task, builder, tokenizer).config
    capsys.readouterr()
    whole = encoded_by(task.encode(data.train, tokenizer, config)).to_dict()
    said = capsys.readouterr().out
    baseline = task.baseline(
        data,
        {
            name: encoded_by(task.encode(split, tokenizer, config))
            for name, split in data.named().items()
        },
    )
    use_chunks_of(7, monkeypatch)
    monkeypatch.setattr(masked_lm, "TEXTS_AT_ONCE", 3)
    capsys.readouterr()
    chunks = list(task.encode(data.train, tokenizer, config))
    assert len(chunks) > 5
    assert encoded_by(chunks).to_dict() == whole
    assert capsys.readouterr().out == said
    again = make(cfg, "task")
    again.setup(data)
    encoded = {
        name: encoded_by(again.encode(split, tokenizer, config))
        for name, split in data.named().items()
    }
    assert again.baseline(data, encoded) == pytest.approx(baseline)


def write(file: Path, records: list[dict[str, object]]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def test_a_file_is_read_chunk_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"text": f"text {i}", "score": i if i < 9 else i / 2} for i in range(20)]
    records[3]["text"] = None
    whole = files.read(write(tmp_path / "a.jsonl", records))
    use_chunks_of(4, monkeypatch)
    read = files.read(tmp_path / "a.jsonl")
    assert read.rows.to_dict() == whole.rows.to_dict()
    assert read.where(17) == whole.where(17) == f"{tmp_path / 'a.jsonl'}, line 18"
    assert list(read.values("text")) == whole.column("text")


def test_a_parquet_file_is_read_chunk_by_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"text": f"text {i}", "words": ["a"] * i} for i in range(20)]
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(records), file)
    use_chunks_of(6, monkeypatch)
    split = files.read(file, limit=17)
    assert list(split) == records[:17]
    assert split.where(16) == f"{file}, record 17"


def test_an_empty_first_chunk_of_a_column_takes_the_type_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_chunks_of(2, monkeypatch)
    records: list[dict[str, object]] = [{"text": None if i < 3 else "a"} for i in range(6)]
    assert files.read(write(tmp_path / "a.jsonl", records)).column("text") == [None] * 3 + ["a"] * 3


def test_types_that_differ_between_chunks_are_named(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_chunks_of(4, monkeypatch)
    records: list[dict[str, object]] = [{"text": "a" if i < 12 else ["a"]} for i in range(16)]
    with pytest.raises(DataError, match=r"a\.jsonl, line 13: text=\['a'\] is of type list.*str"):
        files.read(write(tmp_path / "a.jsonl", records))
    assert not list((project / "outputs").rglob("*.arrow")), "nothing is left behind"


def test_a_record_may_lack_a_column_that_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_chunks_of(4, monkeypatch)
    records: list[dict[str, object]] = [
        {"text": "a"} if i < 6 else {"more": i, "text": "b"} for i in range(9)
    ]
    del records[8]["text"]
    table = files.read(write(tmp_path / "a.jsonl", records))
    assert table.column("text") == ["a"] * 6 + ["b"] * 2 + [None]
    assert table.column("more") == [None] * 6 + [6, 7, 8]
    with pytest.raises(DataError, match=r"a\.jsonl, line 9: text=None"):
        table.require_texts(["text"])
