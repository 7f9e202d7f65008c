"""Files of words and tags in columns, and of one text a line."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from expkit.data.files import Reading, read
from expkit.tasks.tagging.tagged_columns import TaggedColumns
from expkit.terminal.errors import DataError
from fuzzing import fuzzed, line_in

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


# Which column is which.


def joined(*sentences: str) -> str:
    """Files with / for the end of a line."""
    return "\n\n".join(sentence.replace(" / ", "\n").replace("/", "") for sentence in sentences)


# name: (a file, the words of its sentences, their tags)
READ: dict[str, tuple[str, list[list[str]], list[list[str]]]] = {
    "words that are numbers": (joined("1 O / 2 O", "1 B-X"), [["1", "2"], ["1"]], [["O", "O"], ["B-X"]]),
    "chunks before the tags": (
        joined("EU NNP B-NP B-ORG / met VBD B-VP O"),
        [["EU", "met"]],
        [["B-ORG", "O"]],
    ),
    "words that look like tags": (joined("O B-PER / B-1 O"), [["O", "B-1"]], [["B-PER", "O"]]),
    "the end of a document inside": (
        joined("a O / b O / -DOCSTART- -X- O / c B-X / -DOCSTART-", "d O / -DOCSTART- O / -DOCSTART- O / e O"),
        [["a", "b"], ["c"], ["d"], ["e"]],
        [["O", "O"], ["B-X"], ["O"], ["O"]],
    ),
    "words that begin like the end of a document": (
        joined("-DOCSTART-1 O / x-DOCSTART- O"),
        [["-DOCSTART-1", "x-DOCSTART-"]],
        [["O", "O"]],
    ),
    "comments behind the end of a document": (joined("a O / -DOCSTART- O / # new / b O"), [["a"], ["b"]], [["O"], ["O"]]),
    "BMES": (joined("中 B-LOC / 国 M-LOC / 人 E-LOC / 他 S-PER"), [list("中国人他")], [["B-LOC", "M-LOC", "E-LOC", "S-PER"]]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words", "tags"), READ.values(), ids=list(READ))
@pytest.mark.parametrize("gap", [" ", "\t"])
def test_what_columns_hold(
    text: str, words: list[list[str]], tags: list[list[str]], gap: str, tmp_path: Path
) -> None:
    records_read = list(read(written(tmp_path, text.replace(" ", gap))))
    assert [record["tokens"] for record in records_read] == words
    assert [record["ner_tags"] for record in records_read] == tags
    assert [record["id"] for record in records_read] == [str(i) for i in range(len(words))]


# name: (a file, the line that the message names, columns that it proposes)
DOUBTS: dict[str, tuple[str, int, str]] = {
    "word numbers": (joined("1 Anna B-PER / 2 Meyer I-PER / 3 sings O", "1 Bonn B-LOC"), 1, "[id,word,tag]"),
    "word numbers from 0": (joined("0 Anna X B-PER / 1 sings Y O", "0 Bonn X B-LOC"), 1, "[id,word,_,tag]"),
    "two words in one, and a word that is not there": (joined("1-2 im _ O / 1 in A O / 2 dem B O / 2.1 _ _ O"), 1, "[id,word,_,tag]"),
    "numbers behind a letter": (joined("w1 Anna B-PER / w2 sings O", "w1 a O"), 1, "[_,word,tag]"),
    "numbers with a dot": (joined("1. Anna B-PER / 2. sings O", "1. a O"), 1, "[_,word,tag]"),
    "numbers of sentence and word": (joined("1:1 Anna B-PER / 1:2 sings O", "2:1 a O"), 1, "[_,word,tag]"),
    "such with a dot between": (joined("1.1 Anna B-PER / 1.2 sings O", "2.1 a O"), 1, "[_,word,tag]"),
    "sentences that are named once": ("s 1\tAnna\tN\tB-PER\n\tsings\tV\tO\n\tx\tV\tO\n", 1, "[_,word,_,tag]"),
    "sentences of one number": (joined("1 CD O", "1 CD B-X"), 1, "[id,word,tag]"),
    "numbers that are words": (joined("1 CD O / 2 CD O / 3 CD O", "1 CD O"), 1, "[id,word,tag]"),
    "numbers in any order": (joined("7 CD O / 11 X B-Y"), 1, "[id,word,tag]"),
    "numbers that run on": (joined("1 a O / 2 b O", "3 c O / 4 d B-X"), 1, "[id,word,tag]"),
    "numbers in uneven lines": (joined("1 a O / 2 b x O"), 1, "[id,word,_,tag]"),
    "the same text in a sentence": (joined("d1 a O / d1 b B-X", "d2 c O"), 1, "[_,word,tag]"),
    "two levels of tags": (joined("a B-X O / b I-X B-X"), 1, "[word,tag,_]"),
    "two levels of other types": (joined("a B-X O / b I-X B-Y"), 1, "[word,tag,_]"),
    "word numbers and two levels": (joined("# x", "1 a B-X O / 2 b O O"), 3, "[id,word,tag,_]"),
    "tags in the middle": (joined("1 a B-X - me / 2 b O - me"), 1, "[id,word,tag,_,_]"),
    "tags before the words": (joined("B-X a / O b"), 1, "[tag,word]"),
    "a wrong tag behind chunks": (joined("a N B-NP B-X / b N B-VP PER / c N B-PPX O"), 2, "[word,_,tag,_]"),
    "CoNLL-U without tags": (joined("1 a a N _ _ 0 root _ _ / 2 b b V _ _ 1 x _ NER=B-X"), 1, "[id,word,_,_,_,_,_,_,_,tag]"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "columns"), DOUBTS.values(), ids=list(DOUBTS))
def test_a_doubt_is_a_message(text: str, line: int, columns: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(DataError, match="name the columns, such as") as raised:
        read(file)
    assert str(raised.value).startswith(f"{file}, line {line}: ")
    assert str(raised.value).endswith(f"data.conll.columns={columns}")


def test_a_named_column_of_tags_says_what_is_a_comment(tmp_path: Path) -> None:
    file = written(tmp_path, "#1\tB-PROD\tx\nfan\tO\ty\n\n# said\nyes\tO\tz\n")
    records = read(file, reading=Reading(conll={"columns": ["word", "tag", "_"]}))
    assert [record["tokens"] for record in records] == [["#1", "fan"], ["yes"]]


def test_a_numbered_docstart_ends_a_sentence(tmp_path: Path) -> None:
    file = written(tmp_path, "0 -DOCSTART- O\n1 a O\n0 -DOCSTART- O\n1 b O\n")
    assert [
        record["tokens"]
        for record in read(file, reading=Reading(conll={"columns": ["id", "word", "tag"]}))
    ] == [
        ["a"],
        ["b"],
    ]


def test_columns_are_named(tmp_path: Path) -> None:
    file = written(tmp_path, joined("1 a B-X O / 1-2 _ _ _ / 2 b I-X B-Y", "1.1 x O O", "1 7 O O"))
    first, second = read(file, reading=Reading(conll={"columns": ["id", "word", "tag", "_"]}))
    assert (first["tokens"], first["ner_tags"]) == (["a", "b"], ["B-X", "I-X"])
    assert (second["tokens"], second["ner_tags"]) == (["7"], ["O"])
    assert read(file, reading=Reading(conll={"columns": ["tag", "_", "_", "word"]})).rows[0][
        "tokens"
    ] == ["O", "_", "B-Y"]
    message = r"line 1: expected 2 columns, as data.conll.columns names, separated by a space"
    with pytest.raises(DataError, match=message):
        read(file, reading=Reading(conll={"columns": ["word", "tag"]}))


# name: (a file, the line that is wrong)
STRAY: dict[str, tuple[str, int]] = {
    "a blank word": ("a O\nb O\n\t O\nc B-X", 3),
    "a tab elsewhere, and no tag": ("a O\nb O\nc\tO\n\nd\ne O", 5),
    "a tab elsewhere, and no tag before it": ("a O\nb\nc\tO\nd O", 2),
    "a space in a file of tabs": ("a\tO\nb\tO\nc O\nNew York\tB-X", 3),
    "an empty last column": ("a\tN\tO\nb\tV\t\nc\tN\tB-X", 2),
    "an empty last column and a blank": ("a\tN\tO\nb\tV\t \nc\tN\tB-X", 2),
    "no tab in a file of tabs": ("a\tO\nNew York\tB-X\nc\nd\tO", 3),
}


@pytest.mark.parametrize(("text", "line"), STRAY.values(), ids=list(STRAY))
def test_a_stray_tab_blames_its_own_line(text: str, line: int, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(DataError) as raised:
        read(file)
    assert str(raised.value).startswith(f"{file}, line {line}: expected a word and a tag")


def test_a_word_is_not_empty(tmp_path: Path) -> None:
    file = written(tmp_path, "s 1\ta\tO\n\t\tO\n")
    with pytest.raises(DataError, match="line 2: its word is empty"):
        read(file, reading=Reading(conll={"columns": ["_", "word", "tag"]}))


def test_a_tab_behind_the_tag_is_no_column(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, "New York\tB-X\na\tO\t\n\nb\tO \n"))
    assert (first["tokens"], first["ner_tags"]) == (["New York", "a"], ["B-X", "O"])
    assert second["tokens"] == ["b"]


# Random files, held against a reader that knows their columns.

WORDS = st.sampled_from(["Anna", "Bonn", "1", "2", "3", "#", "-DOCSTART-x", "O", "B-X", "ja", "人", NO_BREAK, "x=y"])  # fmt: skip
KINDS = st.sampled_from(["O", "O", "B-PER", "I-PER", "B-LOC", "S-PER", "M-LOC"])
LAYOUTS = ["word tag", "word pos tag", "word pos chunk tag", "id word tag", "id word pos tag", "id word tag inner", "word tag inner", "doc id word tag", "tag word", "id word tag source"]  # fmt: skip
BETWEEN = [
    "\n",
    "\n\n \n",
    "\n# a remark\n",
    "-DOCSTART-\n",
    "-DOCSTART- -X- O\n",
    "\n-DOCSTART- O\n\n",
]


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], str]:
    """The layout and the text of a file; sentences have a word or two more than one, but for a few."""
    layout = draw(st.sampled_from(LAYOUTS)).split()
    gap, end = (
        draw(st.sampled_from(["\t", " ", "  ", " \t"])),
        draw(st.sampled_from(["\n", "\r\n"])),
    )
    text = draw(st.sampled_from(["", "\ufeff", "# first = O\n", "-DOCSTART- O\n"]))
    for number in range(draw(st.integers(1, 5))):
        for i in range(draw(st.integers(1, 5))):
            tag = draw(KINDS)
            cells = {"word": draw(WORDS), "tag": tag, "id": str(i + 1), "doc": f"d{number}"}
            cells |= {"pos": draw(st.sampled_from(["N", "CD", "."])), "source": "me"}
            cells |= {"chunk": draw(st.sampled_from(["B-NP", "I-VP", "O"]))}
            cells["inner"] = draw(KINDS) if tag != "O" else "O"
            text += gap.join(cells[name] for name in layout) + "\n"
            stray = "\tO\n" if "\t" not in gap else ""
            text += draw(st.sampled_from(["", "", "", "", "", "", stray, "alone\n", " \n"]))
        text += draw(st.sampled_from(BETWEEN))
    return layout, text.replace("\n", end)


def simple_reader(layout: list[str], text: str) -> list[list[tuple[str, str]]]:
    """The words with their tags of each sentence, for somebody who knows the columns."""
    sentences: list[list[tuple[str, str]]] = [[]]
    for line in text.removeprefix("\ufeff").splitlines():
        cells = re.split("[ \t]+", line)
        if cells[0] in ("", "-DOCSTART-"):
            sentences.append([])
        elif sentences[-1] or not line.startswith(("# a remark", "# first")):
            named = dict(zip(layout, cells, strict=True))
            sentences[-1].append((named["word"], named["tag"]))
    return [sentence for sentence in sentences if sentence]


@pytest.mark.fuzz
@fuzzed(300)
@given(drawn=files())
def test_random_files(
    drawn: tuple[list[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    layout, text = drawn
    file = written(tmp_path_factory.mktemp("conll"), text)
    sound = "alone" not in text and "\n\tO" not in text
    expected = simple_reader(layout, text) if sound else None
    named = [name if name in ("id", "word", "tag") else "_" for name in layout]
    assert outcome(file, text, named) == expected
    # Nobody can tell a column with the name of the document from one with the only word of a sentence.
    assume("doc" not in layout or max(map(len, expected or [[]])) > 1)
    seen = outcome(file, text, None)
    assert seen in (expected, None)
    usual = (["word", "tag"], ["word", "pos", "tag"], ["word", "pos", "chunk", "tag"])
    repeats = all(len({word for word, _ in sentence}) == 1 for sentence in expected or [])
    numbers = all(word.isdecimal() for sentence in expected or [] for word, _ in sentence)
    assert seen == expected or layout not in usual or repeats or numbers


def outcome(file: Path, text: str, columns: list[str] | None) -> list[list[tuple[str, str]]] | None:
    """The words with their tags, or None after a message that names a line."""
    try:
        found = read(file, reading=Reading(conll={"columns": columns}))
        TaggedColumns("tokens", "ner_tags", ()).require(found)
    except DataError as error:
        assert_names_a_line(str(error), file, text.splitlines())
        return None
    return [list(zip(one["tokens"], one["ner_tags"], strict=True)) for one in found]


def assert_names_a_line(message: str, file: Path, lines: list[str]) -> None:
    line = line_in(message, file) or 0
    assert 0 < line <= len(lines)
    if ": expected " in message:
        assert lines[line - 1].strip("\ufeff\t") in ("alone", "O")
