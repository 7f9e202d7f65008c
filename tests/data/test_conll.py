"""Files of words and tags in columns, and of one text a line."""

import unicodedata
from pathlib import Path

import pytest

from expkit.data.files import read
from expkit.errors import DataError

CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

# a comment
# text = Peter
Peter NNP B-NP B-PER
"""


def written(folder: Path, text: str, name: str = "a.conll") -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize("name", ["a.conll", "a.bio", "a.iob"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_first_column_is_the_word_and_last_the_tag(
    name: str, line_end: str, tmp_path: Path
) -> None:
    file = written(tmp_path, CONLL2003.replace("\n", line_end), name)
    split = read(file)
    assert list(split) == [
        {"id": "0", "tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"]},
        {"id": "1", "tokens": ["Peter"], "ner_tags": ["B-PER"]},
    ]
    assert [split.where(i) for i in range(2)] == [f"{file}, line 3", f"{file}, line 8"]


IDEOGRAPHIC, NO_BREAK = unicodedata.lookup("IDEOGRAPHIC SPACE"), unicodedata.lookup("NBSP")

# name: (a file, the words and the tags of its sentences)
SEPARATORS: dict[str, tuple[str, list[list[str]], list[list[str]]]] = {
    "tabs, with words that have a space or are one": (
        f"New York\tX\tB-LOC\n \tX\tO\n{IDEOGRAPHIC}\t\tO\n\t\n{NO_BREAK}\tX\tO\t\n",
        [["New York", " ", IDEOGRAPHIC], [NO_BREAK]],
        [["B-LOC", "O", "O"], ["O"]],
    ),
    "spaces, with words that are a space of another kind": (
        f"{NO_BREAK}  O \n a   X  O\n{IDEOGRAPHIC} O",
        [[NO_BREAK, "a", IDEOGRAPHIC]],
        [["O", "O", "O"]],
    ),
    "spaces, and a tab before the tag": (
        "EU NNP\tB-ORG\nrejects VBZ\tO\n",
        [["EU", "rejects"]],
        [["B-ORG", "O"]],
    ),
    "spaces, and a tab in one line": (
        "EU NNP B-ORG\n\nrejects VBZ\tO\n",
        [["EU"], ["rejects"]],
        [["B-ORG"], ["O"]],
    ),
    "two columns, by a tab or a space": ("EU\tB-ORG\na O", [["EU", "a"]], [["B-ORG", "O"]]),
}


@pytest.mark.parametrize(
    ("text", "words", "tags"), SEPARATORS.values(), ids=[n.replace(" ", "_") for n in SEPARATORS]
)
def test_tabs_and_spaces(
    text: str, words: list[list[str]], tags: list[list[str]], tmp_path: Path
) -> None:
    records = list(read(written(tmp_path, text)))
    assert [record["tokens"] for record in records] == words
    assert [record["ner_tags"] for record in records] == tags


def test_a_line_without_the_tabs_of_the_others(tmp_path: Path) -> None:
    """Whether its word is `New York` or `New` cannot be told."""
    message = (
        "line 2: expected a word and a tag, separated by a tab, as in line 1, got 'New York O'"
    )
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, "EU\tB-ORG\nNew York O\n"))


def test_a_hash_can_be_a_word(tmp_path: Path) -> None:
    text = "# O\n#nlproc B-X\n# I-X\n\n#\tO\nis O\n\n# no tag here\nyes O"
    assert [record["tokens"] for record in read(written(tmp_path, text))] == [
        ["#", "#nlproc", "#"],
        ["#", "is"],
        ["yes"],
    ]


@pytest.mark.parametrize(
    "comment",
    ["# text\tfoo", "#\tfoo", "# text = vitamin O", "# sent_id = B-12", "# newdoc id = I-5", "##"],
)
def test_comments_before_a_sentence(comment: str, tmp_path: Path) -> None:
    (record,) = read(written(tmp_path, f"{comment}\n{comment}\nyes\tO"))
    assert record["tokens"] == ["yes"]


def test_a_comment_within_a_sentence_is_none(tmp_path: Path) -> None:
    (record,) = read(written(tmp_path, "a O\n# why\nb O"))
    assert record["tokens"] == ["a", "#", "b"]
    assert record["ner_tags"] == ["O", "why", "O"]


def test_several_blank_lines_and_limits(tmp_path: Path) -> None:
    file = written(tmp_path, "\n\na O\n\n \n\nb O\n\nc O")
    assert [record["tokens"] for record in read(file)] == [["a"], ["b"], ["c"]]
    assert len(read(file, limit=2)) == 2


@pytest.mark.parametrize("line", ["Peter", "Peter ", "Peter\t"])
def test_a_line_without_a_tag(line: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"EU B-ORG\n{line}\n")
    with pytest.raises(DataError, match=r"line 2: expected a word and a tag.*'Peter") as raised:
        read(file)
    assert str(file) in str(raised.value)


def test_a_file_of_comments_is_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        read(written(tmp_path, "-DOCSTART- O\n\n# nothing\n"))


def test_text_file_has_one_text_a_line(tmp_path: Path) -> None:
    file = written(tmp_path, "first\r\n\n  \nsecond, 二行目\n", "a.txt")
    split = read(file)
    assert list(split) == [{"text": "first"}, {"text": "second, 二行目"}]
    assert split.where(1) == f"{file}, line 4"
