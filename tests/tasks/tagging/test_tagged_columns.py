"""Tags as names or ids, and records that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from expkit.data.files import read
from expkit.data.splits import Split, Splits
from expkit.tasks.tagging.tagged_columns import TaggedColumns
from expkit.terminal.errors import DataError, UserError

LABELS = ["O", "B-PER", "I-PER"]


def columns(*names: str) -> TaggedColumns:
    return TaggedColumns("tokens", "ner_tags", names)


def split(*tags: list[Any], features: Features | None = None) -> Split:
    """A sentence of the words a, b, c, ... for each list of tags."""
    records = [{"tokens": list("abcdef"[: len(given)]), "ner_tags": given} for given in tags]
    rows = Dataset.from_list(records, features=features)
    return Split(rows, "s", "some data", "0", lambda i: f"some data, example {i + 1}")


def test_types_are_those_that_occur_or_those_that_have_names() -> None:
    rows = split(["B-PER", "O"], ["I-LOC"])
    assert columns().types(rows) == ["LOC", "PER"]
    assert columns("O", "B-ORG", "I-ORG", "B-LOC").types(rows) == ["LOC", "ORG"]
    with pytest.raises(DataError, match="some data: every tag in 'ner_tags' is 'O'"):
        columns().types(split(["O"], []))


def test_ids_are_replaced_by_their_names() -> None:
    rows = split([2, 0], [1])
    assert columns("O", "I-PER", "B-PER").given(rows) == [["B-PER", "O"], ["I-PER"]]
    assert columns("O", "I-PER", "S-PER").bio(rows) == [["B-PER", "O"], ["B-PER"]]
    with pytest.raises(DataError, match=r"example 1: ner_tags\[0\]=2 is an id.*task.labels"):
        columns().given(rows)
    with pytest.raises(DataError, match=r"ner_tags\[0\]=2 is no id; .* 0 to 1"):
        columns("O", "B-PER").given(rows)
    assert columns("O", "B-PER").given(split([0.0, 1.0])) == [["O", "B-PER"]]
    for value, place in ((None, 1), (0.5, 1), (-1.0, 1)):
        with pytest.raises(DataError, match=rf"example 1: ner_tags\[{place}\]={value} is no"):
            columns("O", "B-PER").given(split([0.0, value]))


def test_a_hub_data_set_names_its_ids() -> None:
    tags = Sequence(ClassLabel(names=["O", "B-PER", "B-LOC"]))
    features = Features({"tokens": Sequence(Value("string")), "ner_tags": tags})
    rows = split([0, 1], [1, 0], features=features)
    assert columns().given(rows) == [["O", "B-PER"], ["B-PER", "O"]]
    assert columns().types(rows) == ["LOC", "PER"]


def test_names_have_to_be_tags() -> None:
    with pytest.raises(UserError, match=r"task.labels\[1\]='PER' is no tag; expected O, or B-"):
        columns("O", "PER")


def test_an_unknown_type_is_named_with_its_place() -> None:
    message = (
        r"some data, example 2: ner_tags\[1\]='I-PRE', of the word 'b', is not among the labels; "
        r"allowed: O, B-PER, I-PER; did you mean 'I-PER'"
    )
    with pytest.raises(DataError, match=message):
        columns().require_types(split(["O"], ["O", "I-PRE"]), LABELS)
    columns().require_types(split(["O"], ["E-PER", "S-PER"]), LABELS)


@pytest.mark.parametrize("other", ["B-per", "I-PER ", "B-ＰER", "B-P\u200bER", "S-Per"])
def test_types_that_look_the_same(other: str) -> None:
    rows = split(["B-PER", "O"], ["O", other])
    with pytest.raises(DataError, match=r"example 2: ner_tags: '.*' is almost 'PER' \(some data"):
        columns().types(rows)
    assert columns("B-PER", other).types(rows) == sorted(["PER", other[2:]])


def test_the_scheme_is_found_over_all_splits() -> None:
    """Alone, the validation split could be IOB1."""
    splits = Splits(split(["B-PER", "I-PER"], ["B-PER"]), split(["O"], ["O", "I-PER"]))
    reading, text = columns().reading(splits)
    assert (reading.scheme, reading.rewritten, reading.repaired) == ("BIO", 1, 1)
    assert text == "BIO; 1 invalid prefixes repaired, the first in some data, example 2"
    splits = Splits(split(["B-PER", "L-PER", "U-PER"]), split(["U-PER", "L-PER"]))
    assert columns().reading(splits)[1] == (
        "BILOU; 4 tags rewritten as BIO; 1 invalid prefixes repaired, the first in some data, example 1"
    )


BAD: dict[str, tuple[Any, Any, str]] = {
    "more tags than words": (["a"], ["O", "O"], "no list of 1 tags, one for each word in tokens"),
    "fewer tags than words": (["a", "b"], ["O"], "no list of 2 tags, one for each word in tokens"),
    "a text for words": ("a b", ["O"], "tokens='a b' is no list of texts"),
    "a word that is none": (["a", None], ["O", "O"], "is no list of texts"),
    "words that are numbers": ([1, 2], ["O", "O"], "is no list of texts"),
    "a text for tags": (["a"], "O", "ner_tags='O' is no list of 1 tags"),
    "a tag without a prefix": (["a"], ["PER"], r"ner_tags\[0\]='PER' is no tag; expected O, or B-"),
    "null before a tag": (["a", "b"], [None, "O"], r"ner_tags\[0\]=None is no tag"),
    "null among ids": (["a", "b"], [1, None], r"ner_tags\[0\]=1 is an id; name the ids"),
    "truth values": (["a", "b"], [False, True], r"ner_tags\[0\]=False is no tag"),
    "a fraction": (["a"], [0.5], r"ner_tags\[0\]=0.5 is an id; name the ids"),
    "a blank type": (["a"], ["B- "], r"ner_tags\[0\]='B- ' is no tag"),
    "a tag that is none": (["a", "b"], ["O", None], r"ner_tags\[1\]=None is no tag"),
}


@pytest.mark.parametrize(("words", "tags", "message"), BAD.values(), ids=list(BAD))
def test_bad_records_are_named_with_file_and_line(
    words: Any, tags: Any, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f"\n{json.dumps({'tokens': words, 'ner_tags': tags})}")
    rows = read(file)
    with pytest.raises(DataError, match=message) as raised:
        columns().require(rows)
    assert str(raised.value).startswith(f"{file}, line 2: ")


def test_columns_that_are_not_there() -> None:
    with pytest.raises(DataError, match=r"no column 'tags'; allowed: tokens, ner_tags"):
        TaggedColumns("tokens", "tags", ()).require(split(["O"]))


def test_words_and_numbers_in_one_list_are_named_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lines = [{"tokens": words, "ner_tags": ["O", "O"]} for words in (["a", "b"], ["a", 5])]
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=r"line 2: tokens=\['a', 5\] does not fit the type"):
        read(file)
