"""Files with words and tags in columns, such as those of the CoNLL shared tasks.

`data.conll.columns` names the columns. Without it, the first column holds the words and the last one
the tags, as in CoNLL-2003. If the file looks as if that were wrong, a message asks for the names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from expkit.data.splits import Record
from expkit.data.text_files import lines_of
from expkit.terminal.errors import DataError

Numbered = tuple[int, str]  # the number of a line, and its text
Row = tuple[int, list[str]]  # the number of a line, and its cells

TAG = re.compile(r"O|[BIESLUMW]-\S+")
GAP = re.compile(r"[ \t]+")  # between the columns of a line
METADATA = re.compile(r"#[ \w]+ = ")  # CoNLL-U describes a sentence in such comments
# The chunk types of CoNLL-2000. A column with other types of tags may hold the entities.
CHUNKS = {"NP", "VP", "PP", "ADVP", "SBAR", "ADJP", "PRT", "CONJP", "INTJ", "LST", "UCP"}
NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")
# In CoNLL-U, line 1-2 says how the words 1 and 2 are written together, and word 1.1 is in no text.
NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")


def is_tagged(lines: Iterable[str]) -> bool:
    """Whether every line of a file ends with a tag, and one of them is not O, or it starts with -DOCSTART-."""
    tags: set[str] = set()
    for cells in map(_at_gaps, lines):
        if cells[0] == "-DOCSTART-" and not tags:
            return True
        if not TAG.fullmatch(cells[-1]) or len(cells) < 2:
            if cells == [""] or cells[0].startswith("#"):
                continue
            return False
        tags.add(cells[-1])
    return bool(tags - {"O"})


def records(
    file: Path, columns: Sequence[str] | None = None, encoding: str | None = None
) -> Iterator[tuple[int, Record]]:
    """Read sentences: each line has a word and its tag; a blank line or -DOCSTART- ends a sentence.

    Comments before a sentence are skipped, and so are lines whose word number is no whole number.

    Args:
        columns: a name for each column, among them `word`, `tag` and, for word numbers, `id`.

    Yields:
        the number of the first line of each sentence, and its record.

    Raises:
        DataError: a line has no tag, or it is not clear which columns hold the words and the tags.
    """
    tag = columns.index("tag") - len(columns) if columns else -1
    lines = lines_of(file, encoding)
    sentences = _divided(file, list(_sentences(lines, tag)), len(columns) if columns else None)
    names = list(columns or (_seen(file, sentences) if sentences else ()))
    count = 0
    for sentence in sentences:
        if "id" in names:
            number = names.index("id")
            sentence = [row for row in sentence if not NO_WORD.fullmatch(row[1][number])]
        if sentence:
            words = [cells[names.index("word")] for _, cells in sentence]
            if "" in words:
                raise DataError(f"{file}, line {sentence[words.index('')][0]}: its word is empty")
            # Counted from the end, because lines may differ in their columns before the tag.
            tags = [cells[names.index("tag") - len(names)] for _, cells in sentence]
            yield sentence[0][0], {"id": str(count), "tokens": words, "ner_tags": tags}
            count += 1


def _sentences(lines: Iterable[str], tag: int) -> Iterator[list[Numbered]]:
    """The lines of each sentence; `tag` is the column of the tags, counted from the end."""
    sentence: list[Numbered] = []
    for number, line in enumerate(chain(lines, [""]), start=1):
        # str.strip() would remove a no-break or ideographic space, which can be a word.
        line = line.rstrip("\r\n ")
        if not line.strip(" \t") or "-DOCSTART-" in _at_gaps(line)[:2]:  # after a word number
            if sentence:
                yield sentence
            sentence = []
        elif sentence or not _is_comment(line, tag):
            sentence.append((number, line))


def _is_comment(line: str, tag: int) -> bool:
    """A line that starts with `#` is no comment if it has a tag; but `# key = value` always is one."""
    is_word = any(map(TAG.fullmatch, _at_gaps(line)[tag:][:1])) and not METADATA.match(line)
    return line.startswith("#") and not is_word


def _at_gaps(line: str) -> list[str]:
    return GAP.split(line.strip(" \t\r\n"))


def _at_tabs(line: str) -> list[str]:
    return line.rstrip(" \t").split("\t")


def _divided(file: Path, sentences: Sequence[list[Numbered]], width: int | None) -> list[list[Row]]:
    """Divide all lines into cells, either at tabs or at tabs and spaces.

    In a file with tabs, a space may be part of a word or separate two columns. It separates columns
    if all lines then have equally many, or at least more lines than after dividing at tabs.
    """
    lines = list(chain.from_iterable(sentences))
    with_tab = next((number for number, line in lines if "\t" in line), None)
    at_gaps = _most((len(_at_gaps(line)) for _, line in lines), width)
    at_tabs = _most((len(_at_tabs(line.lstrip("\t"))) for _, line in lines), width)
    widest = max((len(_at_tabs(line)) for _, line in lines), default=0)
    by_tabs = with_tab is not None and at_gaps < len(lines) and at_tabs >= at_gaps
    separated = f"a tab, as in line {with_tab}" if by_tabs else "a space or a tab"
    expected = f"{width} columns, as data.conll.columns names" if width else "a word and a tag"

    def cells(number: int, line: str) -> list[str]:
        found = _at_tabs(line) if by_tabs else _at_gaps(line)
        is_cut = by_tabs and line.endswith("\t") and len(found) < widest
        if len(found) < 2 or is_cut or (width and len(found) != width):
            raise DataError(
                f"{file}, line {number}: expected {expected}, separated by {separated}, "
                f"got {line!r:.60}"
            )
        return found

    return [[(number, cells(number, line)) for number, line in lines] for lines in sentences]


def _most(counts: Iterable[int], width: int | None) -> int:
    """How many lines have `width` columns, or if it is None, the most frequent number of columns."""
    found = Counter(count for count in counts if count > 1)
    return found[width] if width else max(found.values(), default=0)


def _seen(file: Path, sentences: Sequence[list[Row]]) -> list[str]:
    """Name the columns by what they hold, or raise a DataError if that is not clear."""
    rows = list(chain.from_iterable(sentences))
    columns = list(zip(*(cells for _, cells in rows), strict=False))
    last = max(len(cells) for _, cells in rows) - 1
    tags = {k: set(column) for k, column in enumerate(columns) if all(map(TAG.fullmatch, column))}
    types = {k: {tag[2:] for tag in found} - {""} for k, found in tags.items()}
    # Words can look like tags: the first column is no rival if the last one holds tags.
    rivals = [k for k in types if k != last and (k or last not in types) and types[k] - CHUNKS]
    first = _first_column(sentences) if last > 1 else "word"
    word, tag = int(first != "word"), rivals[0] if rivals else last
    names = [first, *["_"] * last]
    names[word + (tag == word)], names[tag] = "word", "tag"
    if first != "word":
        doubt = f"the first column, here {rows[0][1][0]!r:.60}, may hold no words"
    elif rivals and last in types:
        doubt = f"column {tag + 1} holds tags as well as the last one"
    elif rivals:
        doubt = f"the last column holds no tag here, but column {tag + 1} does"
    else:
        return names
    line = next((n for n, cells in rows if not TAG.fullmatch(cells[-1])), rows[0][0])
    raise DataError(
        f"{file}, line {line}: {doubt}; name the columns, such as "
        f"data.conll.columns=[{','.join(names)}]"
    )


def _first_column(sentences: Sequence[list[Row]]) -> str:
    """Name the first column by what it holds.

    Returns:
        `id` for numbers, which may count the words; `_` if it is the same for all words of each
        sentence, if it is empty somewhere, or if its cells differ in numbers only, such as w1 and
        w2; else `word`.
    """
    cells = [[found[0] for _, found in sentence] for sentence in sentences]
    everywhere = list(chain.from_iterable(cells))
    if all(map(NUMBER.fullmatch, everywhere)) and any(map(str.isdecimal, everywhere)):
        return "id"
    shapes = {re.sub("[0-9]+", "0", cell) for cell in everywhere}
    counts = "" in shapes or (len(shapes) == 1 and "0" in shapes.pop())
    repeats = max(map(len, cells)) > 1 and all(len(set(found)) == 1 for found in cells)
    return "_" if counts or repeats else "word"
