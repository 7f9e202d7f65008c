"""Files of words and tags in columns, as those of the CoNLL shared tasks."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from expkit.data.splits import Record
from expkit.errors import DataError

Numbered = tuple[int, str]  # a line with its number

TAG = re.compile(r"O|[BIESLU]-\S+")
GAP = re.compile(r"[ \t]+")  # between the columns of a line
METADATA = re.compile(r"#[ \w]+ = ")  # of a sentence in CoNLL-U


def records(file: Path) -> Iterator[tuple[int, Record]]:
    """A word and its tag a line, in the first and the last column; a blank line ends a sentence.

    Lines that start with -DOCSTART- and comments before a sentence are skipped.

    Yields:
        the number of the first line of each sentence, and its record.

    Raises:
        DataError: a line without a tag.
    """
    with file.open(encoding="utf-8-sig") as lines:
        sentences = list(_sentences(lines))
    columns_of = _columns(file, list(chain.from_iterable(sentences)))
    for count, sentence in enumerate(sentences):
        columns = list(map(columns_of, sentence))
        words, tags = [found[0] for found in columns], [found[-1] for found in columns]
        yield sentence[0][0], {"id": str(count), "tokens": words, "ner_tags": tags}


def _sentences(lines: Iterable[str]) -> Iterator[list[Numbered]]:
    """The lines of each sentence, without what follows their last column."""
    sentence: list[Numbered] = []
    for number, line in enumerate(chain(lines, [""]), start=1):
        # Not str.strip(): a no-break space or an ideographic space can be a word.
        line = line.rstrip("\r\n").rstrip(" \t")
        if not line:
            if sentence:
                yield sentence
            sentence = []
        elif not _is_remark(line, begins=not sentence):
            sentence.append((number, line))


def _is_remark(line: str, *, begins: bool) -> bool:
    """A `#` is a word if a tag is in the last column, but not in `# key = value`."""
    is_word = TAG.fullmatch(GAP.split(line)[-1]) and not METADATA.match(line)
    is_comment = begins and line.startswith("#") and not is_word
    return is_comment or line.startswith("-DOCSTART-")


def _columns(file: Path, lines: Sequence[Numbered]) -> Callable[[Numbered], list[str]]:
    """How the lines of a file are divided into columns, all of them in the same way.

    A file with tabs may have words with a space in them, or columns some of which are separated by
    spaces. It is taken as the latter if that gives all lines equally many columns.
    """
    with_tab = next((number for number, line in lines if "\t" in line), None)
    counts = {len(GAP.split(line.lstrip(" \t"))) for _, line in lines}
    by_tabs = with_tab is not None and len(counts) > 1
    separated = f"a tab, as in line {with_tab}" if by_tabs else "a space or a tab"

    def columns(numbered: Numbered) -> list[str]:
        number, line = numbered
        found = line.split("\t") if by_tabs else GAP.split(line.lstrip(" \t"))
        if len(found) < 2:
            raise DataError(
                f"{file}, line {number}: expected a word and a tag, separated by {separated}, "
                f"got {line!r:.60}"
            )
        return found

    return columns
