"""Files of words and tags in columns, as those of the CoNLL shared tasks.

`data.conll.columns` names the columns. Without it the first one holds the words and the last one the
tags (CoNLL-2003). If the file looks as if that were wrong, a message asks for the names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from expkit.data.splits import Record
from expkit.terminal.errors import DataError

Numbered = tuple[int, str]  # a line with its number
Row = tuple[int, list[str]]  # the cells of a line with its number

TAG = re.compile(r"O|[BIESLUMW]-\S+")
GAP = re.compile(r"[ \t]+")  # between the columns of a line
METADATA = re.compile(r"#[ \w]+ = ")  # of a sentence in CoNLL-U
# Of CoNLL-2000. A column of other tags may hold the entities that are meant.
CHUNKS = {"NP", "VP", "PP", "ADVP", "SBAR", "ADJP", "PRT", "CONJP", "INTJ", "LST", "UCP"}
NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")
# CoNLL-U: the words 1 and 2 are written as one in line 1-2; the word 1.1 is in no text.
NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")


def records(file: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Record]]:
    """A word and its tag a line; a blank line or -DOCSTART- ends a sentence.

    Comments before a sentence are skipped, and lines whose word number is no whole number.

    Args:
        columns: a name for each column, among them `word`, `tag` and, for word numbers, `id`.

    Yields:
        the number of the first line of each sentence, and its record.

    Raises:
        DataError: a line without a tag, or a doubt which columns hold the words and the tags.
    """
    tag = columns.index("tag") - len(columns) if columns else -1
    with file.open(encoding="utf-8-sig") as lines:
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
            # Counted from the last one: lines may have different numbers of columns before it.
            tags = [cells[names.index("tag") - len(names)] for _, cells in sentence]
            yield sentence[0][0], {"id": str(count), "tokens": words, "ner_tags": tags}
            count += 1


def _sentences(lines: Iterable[str], tag: int) -> Iterator[list[Numbered]]:
    """The lines of each sentence; `tag` counts from the end."""
    sentence: list[Numbered] = []
    for number, line in enumerate(chain(lines, [""]), start=1):
        # Not str.strip(): a no-break space or an ideographic space can be a word.
        line = line.rstrip("\r\n ")
        if not line.strip(" \t") or "-DOCSTART-" in _at_gaps(line)[:2]:  # it may be numbered
            if sentence:
                yield sentence
            sentence = []
        elif sentence or not _is_comment(line, tag):
            sentence.append((number, line))


def _is_comment(line: str, tag: int) -> bool:
    """A `#` is a word if a tag is in the column of tags, but not in `# key = value`."""
    is_word = any(map(TAG.fullmatch, _at_gaps(line)[tag:][:1])) and not METADATA.match(line)
    return line.startswith("#") and not is_word


def _at_gaps(line: str) -> list[str]:
    return GAP.split(line.strip(" \t"))


def _at_tabs(line: str) -> list[str]:
    return line.rstrip(" \t").split("\t")


def _divided(file: Path, sentences: Sequence[list[Numbered]], width: int | None) -> list[list[Row]]:
    """The cells of the lines, all of which are divided in the same way.

    A file with tabs may have words with a space in them, or columns some of which are separated by
    spaces. It is taken as the latter if that gives all lines equally many columns, or at least more
    of them than tabs do.
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
    """How many lines have `width` columns; without it, the number of columns that most lines have."""
    found = Counter(count for count in counts if count > 1)
    return found[width] if width else max(found.values(), default=0)


def _seen(file: Path, sentences: Sequence[list[Row]]) -> list[str]:
    """The names of the columns, by what they hold. Raises DataError if that leaves a doubt."""
    rows = list(chain.from_iterable(sentences))
    columns = list(zip(*(cells for _, cells in rows), strict=False))
    last = max(len(cells) for _, cells in rows) - 1
    tags = {k: set(column) for k, column in enumerate(columns) if all(map(TAG.fullmatch, column))}
    types = {k: {tag[2:] for tag in found} - {""} for k, found in tags.items()}
    # Words can look like tags; in the first column they do not count where the last one holds tags.
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
    """`word`; `id` for numbers, which may count the words; `_` for what all words of a sentence share.

    `_` is also what is empty or differs in nothing but numbers, such as 1:1 or w2.
    """
    cells = [[found[0] for _, found in sentence] for sentence in sentences]
    everywhere = list(chain.from_iterable(cells))
    if all(map(NUMBER.fullmatch, everywhere)) and any(map(str.isdecimal, everywhere)):
        return "id"
    shapes = {re.sub("[0-9]+", "0", cell) for cell in everywhere}
    counts = "" in shapes or (len(shapes) == 1 and "0" in shapes.pop())
    repeats = max(map(len, cells)) > 1 and all(len(set(found)) == 1 for found in cells)
    return "_" if counts or repeats else "word"
