"""One place makes a label out of a value, for all splits, names of ids included."""

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from expkit.data.files import load
from expkit.data.labels import LabelColumn, label_of, names_of_ids
from expkit.data.splits import Splits
from expkit.terminal.errors import DataError
from fuzzing import fuzzed, line_in, own_lines


def jsonl(*labels: Any) -> bytes:
    return "".join(json.dumps({"text": "a", "label": label}) + "\n" for label in labels).encode()


def as_csv(*labels: str) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(
        [("text", "label"), *(("a", label) for label in labels)]
    )
    return stream.getvalue().encode()


def parquet(*labels: Any, names: list[str] | None = None) -> bytes:
    """With names as `datasets` writes them, or a plain one."""
    stream = io.BytesIO()
    columns = {"text": ["a"] * len(labels), "label": list(labels)}
    if names:
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        Dataset.from_dict(columns, features).to_parquet(stream)
    else:
        pyarrow.parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


def splits(folder: Path, train: tuple[str, bytes], dev: tuple[str, bytes] | None = None) -> Splits:
    """Files of the given suffixes and contents; without `dev`, the training file twice."""
    files = []
    for name, (suffix, content) in (("train", train), ("dev", dev or train)):
        files.append(folder / f"{name}{suffix}")
        files[-1].write_bytes(content)
    return load(str(files[0]), str(files[1]), None, None, None)


def read(data: Splits, *given: str) -> tuple[list[str], list[int], list[int]]:
    """The names, and the ids of both splits."""
    column = LabelColumn("label", given)
    column.setup(data)
    return column.names, column.ids(data.train), column.ids(data.validation)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *[("pos", "pos"), (" pos ", " pos "), ("1.0", "1.0"), ("None", "None"), ("null", "null")],
        *[(1, "1"), (1.0, "1"), (-2, "-2"), (True, "true"), (False, "false")],
        *[(None, None), ("", None), (" \t", None), ("\u200b", None), ("\u3000", None)],
        *[(0.5, None), (float("nan"), None), (float("inf"), None), (["a"], None), ({"a": 1}, None)],
    ],
)  # fmt: skip
def test_what_is_a_label(value: object, label: str | None) -> None:
    assert label_of(value) == label


NO_LABELS: dict[str, tuple[str, bytes, int]] = {
    "an empty text": (".csv", as_csv("a", "b", ""), 4),
    "a blank one": (".csv", as_csv("a", "b", "  "), 4),
    "a no-break space": (".jsonl", jsonl("a", "b", "\xa0"), 3),
    "null": (".jsonl", jsonl("a", None, "b"), 2),
    "null among numbers": (".jsonl", jsonl(0, 1, None), 3),
    "NaN": (".jsonl", jsonl(0, 1, float("nan")), 3),
    "infinity": (".jsonl", jsonl(0, 1, float("-inf")), 3),
    "a fraction": (".jsonl", jsonl(0, 1, 0.5), 3),
    "a list": (".jsonl", jsonl(["a"], ["b"]), 1),
    "null in a list": (".jsonl", jsonl([None], ["b"]), 1),
    "an object": (".jsonl", jsonl({"a": 1}, {"a": 2}), 1),
    "null in Parquet": (".parquet", parquet("a", "b", None), 3),
    "no label of datasets": (".parquet", parquet(0, 1, -1, names=["a", "b"]), 3),
    "null beside names": (".parquet", parquet(0, None, names=["a", "b"]), 2),
}  # fmt: skip


@pytest.mark.parametrize(("suffix", "content", "line"), NO_LABELS.values(), ids=list(NO_LABELS))
def test_what_is_none_is_refused_with_its_line(
    suffix: str, content: bytes, line: int, tmp_path: Path
) -> None:
    data = splits(tmp_path, (suffix, content))
    with pytest.raises(DataError, match="is no label; expected") as raised:
        read(data)
    assert line_in(str(raised.value), tmp_path / f"train{suffix}") == line


@pytest.mark.parametrize("given", [(), ("a", "b")])
def test_also_in_another_split(given: tuple[str, ...], tmp_path: Path) -> None:
    data = splits(tmp_path, (".csv", as_csv("a", "b")), (".jsonl", jsonl("a", "b", None)))
    with pytest.raises(DataError, match=r"dev.jsonl, line 3: label=None is no label"):
        read(data, *given)


ALMOST = [("pos", "pos "), ("pos", "POS"), ("true", "True"), ("1", "1.0"), ("Ａ", "A"), ("a b", "a  b"), ("a", "a\u200b"), ("1", "１"), ("\u00e9", "e\u0301"), ("a\xa0b", "a b"), ("+1", "1"), ("\u2764\ufe0f", "\u2764"), ("a\0", "a")]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ALMOST)
def test_labels_that_look_the_same(one: str, other: str, tmp_path: Path) -> None:
    """Refused where they were found, with both places; another name is meant where it is given."""
    data = splits(tmp_path, (".csv", as_csv("x", one, one, other)))
    with pytest.raises(DataError) as raised:
        read(data)
    message = str(raised.value)
    assert f"{tmp_path / 'train.csv'}, line 5: label: {other!r} is almost {one!r}" in message
    assert f"({tmp_path / 'train.csv'}, line 3)" in message
    assert "name all labels in task.labels" in message
    assert read(data, "x", one, other)[1] == [0, 1, 1, 2]


@pytest.mark.parametrize(("one", "other"), ALMOST)
@pytest.mark.parametrize("given", [True, False])
def test_a_label_of_another_split_that_looks_like_one(
    one: str, other: str, given: bool, tmp_path: Path
) -> None:
    data = splits(tmp_path, (".csv", as_csv("x", one)), (".jsonl", jsonl("x", other)))
    with pytest.raises(DataError) as raised:
        read(data, *(("x", one) if given else ()))
    assert f"dev.jsonl, line 2: label={other!r} is not among the labels" in str(raised.value)
    assert str(raised.value).endswith(f"did you mean {one!r}?")


def test_a_text_is_not_the_number_that_it_looks_like(tmp_path: Path) -> None:
    """Once, these were ids: each star counted as the next one."""
    data = splits(tmp_path, (".csv", as_csv("1.0", "2.0", "3.0")), (".jsonl", jsonl(1, 2)))
    message = r"line 1: label=1, which is the label '1', is not among the labels.*mean '1.0'"
    with pytest.raises(DataError, match=message):
        read(data)
    data = splits(tmp_path, (".jsonl", jsonl(1.0, 2, 3)), (".csv", as_csv("1", "3")))
    assert read(data) == (["1", "2", "3"], [0, 1, 2], [0, 2])


def test_truth_values(tmp_path: Path) -> None:
    data = splits(tmp_path, (".jsonl", jsonl(True, False)), (".csv", as_csv("true", "false")))
    assert read(data) == (["false", "true"], [1, 0], [1, 0])
    assert read(data, "true", "false")[1] == [0, 1]
    data = splits(tmp_path, (".jsonl", jsonl(True, False)), (".csv", as_csv("True", "False")))
    with pytest.raises(DataError, match=r"dev.csv, line 2: label='True'.*did you mean 'true'"):
        read(data)


IDS: dict[str, tuple[tuple[str, bytes], tuple[str, bytes], tuple[str, ...], Any]] = {
    "numbers": ((".jsonl", jsonl(0, 1)), (".jsonl", jsonl(1, 0)), ("no", "yes"), [1, 0]),
    "texts": ((".csv", as_csv("0", "1")), (".csv", as_csv("1")), ("no", "yes"), [1]),
    "fractions": ((".jsonl", jsonl(0.0, 1)), (".csv", as_csv("1")), ("no", "yes"), [1]),
    "names of digits": ((".csv", as_csv("0", "1")), (".jsonl", jsonl(1)), ("1", "0"), [0]),
    "found names are no ids": ((".csv", as_csv("2", "1")), (".jsonl", jsonl(0)), (), "label=0,.*not among"),
    "no such id": ((".jsonl", jsonl(0, 1)), (".jsonl", jsonl(2)), ("no", "yes"), "label=2.*not among.*no, yes"),
    "ids beside names": ((".csv", as_csv("0", "yes")), (".csv", as_csv("0")), ("no", "yes"), "line 3: label='yes' is not among the labels .other records hold their ids."),
    "ids, and names elsewhere": ((".csv", as_csv("no", "yes")), (".jsonl", jsonl(0)), ("no", "yes"), [0]),
    "names with a number": ((".csv", as_csv("1", "x")), (".jsonl", jsonl(0)), ("1", "x"), "label=0.*not among.*1, x"),
}  # fmt: skip


@pytest.mark.parametrize(("train", "dev", "given", "expected"), IDS.values(), ids=list(IDS))
def test_ids_count_where_names_are_given(
    train: tuple[str, bytes],
    dev: tuple[str, bytes],
    given: tuple[str, ...],
    expected: Any,
    tmp_path: Path,
) -> None:
    data = splits(tmp_path, train, dev)
    if isinstance(expected, list):
        assert read(data, *given)[2] == expected
    else:
        with pytest.raises(DataError, match=expected):
            read(data, *given)


NAMED = (".parquet", parquet(0, 1, 0, names=["pos", "neg"]))


def test_names_of_class_labels_in_parquet(tmp_path: Path) -> None:
    assert read(splits(tmp_path, NAMED)) == (["pos", "neg"], [0, 1, 0], [0, 1, 0])
    for other in ((".csv", as_csv("neg", "pos")), (".jsonl", jsonl(1, 0))):
        assert read(splits(tmp_path, NAMED, other))[2] == [1, 0]
    # The same names in another order: the data say what an id means.
    other = (".parquet", parquet(0, 1, names=["neg", "pos"]))
    assert read(splits(tmp_path, NAMED, other))[2] == [1, 0]
    assert read(splits(tmp_path, NAMED), "neg", "pos") == (["neg", "pos"], [1, 0, 1], [1, 0, 1])
    assert read(splits(tmp_path, NAMED), "good", "bad") == (["good", "bad"], [0, 1, 0], [0, 1, 0])
    # New names are those of the training data's ids, in whatever order another split has them.
    assert read(splits(tmp_path, NAMED, other), "good", "bad")[2] == [1, 0]
    with pytest.raises(DataError, match=r"record 1: label=0, which is the label 'pos', is not"):
        read(splits(tmp_path, NAMED), "good", "bad", "none")
    with pytest.raises(DataError, match=r"label=0, which is the label 'pos', is not .*'Pos'"):
        read(splits(tmp_path, NAMED), "Neg", "Pos")  # other names, or the same in another order


def test_a_damaged_note_of_datasets_is_a_message(tmp_path: Path) -> None:
    for note in ("{", "[]", '{"info": {"features": {"label": {"_type": "No"}}}}', '{"info": 1}'):
        stream = io.BytesIO()
        table = pa.table({"text": ["a"], "label": [0]})
        noted = table.replace_schema_metadata({"huggingface": note})
        pyarrow.parquet.write_table(noted, stream)
        with pytest.raises(DataError, match=r"train.parquet: cannot be used"):
            splits(tmp_path, (".parquet", stream.getvalue()))


def test_categories_of_pandas_are_their_texts(tmp_path: Path) -> None:
    stream = io.BytesIO()
    labels = pa.array(["b", "a", "b"]).dictionary_encode()
    pyarrow.parquet.write_table(pa.table({"text": ["x"] * 3, "label": labels}), stream)
    assert read(splits(tmp_path, (".parquet", stream.getvalue())))[:2] == (["a", "b"], [1, 0, 1])


def test_names_of_ids() -> None:
    assert names_of_ids(["a", "b"], []) == ["a", "b"]
    assert names_of_ids([], ["a", "b"]) == ["a", "b"]
    assert names_of_ids(["O", "B-PER"], ["O", "B-Person"]) == ["O", "B-Person"]
    assert names_of_ids(["O", "B-PER", "B-LOC"], ["O", "B-LOC", "B-PER"]) == ["O", "B-PER", "B-LOC"]
    assert names_of_ids(["O", "B-PER"], ["B-Person", "O"]) == ["O", "B-PER"]
    assert names_of_ids(["neg", "pos"], ["Pos", "Neg"]) == ["neg", "pos"]


# Random columns, held against a reader of ten lines.

TEXTS = st.sampled_from(["pos", "neg", "Neg", "neg ", " pos", "0", "1", "1.0", "２", "2", "true", "True", "False", "", " ", "None", "null", "nan", "ne\u200bg", "\u200b", "ｐos", "é", "e\u0301", "a,b", 'a"b', "a\nb", "NA"])  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 2, 10, -1, 1.0, 2.0, 0.5, float("nan"), float("inf"), None, 2**53])
COLUMNS = st.one_of(
    st.tuples(st.just(".csv"), st.lists(TEXTS, min_size=1, max_size=8)),
    st.tuples(
        st.sampled_from([".jsonl", ".parquet"]),
        st.one_of(
            st.lists(st.one_of(TEXTS, st.none()), min_size=1, max_size=8),
            st.lists(NUMBERS, min_size=1, max_size=8),
            st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=8),
            st.lists(st.sampled_from([["a"], [None], []]), min_size=1, max_size=4),
        ),
    ),
)


def simple_label(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.0f}" if value == value and abs(value) < 1e300 and value % 1 == 0 else None
    return value if isinstance(value, str) and value.replace("\u200b", "").strip() else None


@pytest.mark.fuzz
@fuzzed(300)
@given(train=COLUMNS, dev=COLUMNS, names=st.sampled_from([(), ("neg", "pos"), ("0", "1"), ("true", "false"), ("pos", "neg", "Neg", "neg ")]))  # fmt: skip
def test_random_columns(
    train: tuple[str, list[Any]],
    dev: tuple[str, list[Any]],
    names: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    writers = {".csv": as_csv, ".jsonl": jsonl, ".parquet": parquet}
    contents = [(suffix, writers[suffix](*values)) for suffix, values in (train, dev)]
    expected = [[simple_label(value) for value in values] for _, values in (train, dev)]
    known = set(names or expected[0])
    look = {unicodedata.normalize("NFKC", f"{name}").strip().lower() for name in known}
    try:
        found, *ids = read(splits(folder, *contents), *names)
    except DataError as error:
        assert_explained(str(error), folder)
        # What is refused has a reason: no label, another one than those of the training data, or a twin.
        labels = {label for column in expected for label in column}
        doubtful = {None} & labels or labels - known or len(known) < 2 or len(look) < len(known)
        assert doubtful or {"1.0", "ne\u200bg"} & labels
        return
    for labels, numbers in zip(expected, ids, strict=True):
        by_id = [str(number) for number in numbers]
        assert [found[i] for i in numbers] == labels or (names and by_id == labels)
    if not names:
        assert set(found) == known
        assert len(look) == len(known)


def assert_explained(message: str, folder: Path) -> None:
    assert own_lines(message, folder) or "one label only" in message
    assert len(message) < 1_000


def test_ids_that_stand_for_names_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stars from 1 to 4 would be taken for the second to the fifth name without a word."""
    data = splits(tmp_path, (".csv", as_csv("1", "2", "3")))
    assert read(data, "one", "two", "three", "four")[1] == [1, 2, 3]
    line = "label: holds ids, taken for those of task.labels: 0=one, 1=two, 2=three, 3=four"
    assert line in " ".join(capsys.readouterr().out.split())
    read(splits(tmp_path, (".csv", as_csv("a", "b"))), "a", "b")
    assert capsys.readouterr().out == ""
