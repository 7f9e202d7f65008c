"""Finds the words of a text, in languages with and without spaces between words."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from expkit.answering.located_words import MARKS, Span
from expkit.data.languages import WITHOUT_SPACES, primary_subtag, script_of
from expkit.terminal.errors import UserError

MARK = re.compile(f"[{MARKS}]")
LETTER = re.compile(f"(?s:.)[{MARKS}]*")
# A word is a run of letters and digits, or any other single visible character; marks belong to it.
RUN = re.compile(rf"[^\W_]+(?:[{MARKS}]+[^\W_]*)*|(?:[^\s\w]|_)[{MARKS}]*")


def word_spans(text: str, language: str) -> list[Span]:
    """The places of all words, in the order of the text; a punctuation mark is a word too.

    Args:
        language: a code such as en, zh or ja_JP. Chinese is cut by jieba, Japanese by MeCab
            (fugashi) with unidic-lite, any other language at spaces and punctuation.

    Raises:
        UserError: see `segmenter`.
    """
    cut = segmenter(language)
    if cut is None:
        return [match.span() for match in RUN.finditer(text)]
    letters, starts = _letters(text)
    return [
        match.span()
        for first, end in _found(letters, cut(letters))
        for match in RUN.finditer(text, starts[first], starts[end])
    ]


def segmenter(language: str, key: str = "language") -> Callable[[str], list[str]] | None:
    """A function that divides a text into words; None for a language that has spaces between them.

    Raises:
        UserError: the language is unknown, or it needs a segmenter that expkit does not have.
    """
    script = script_of(language, key)
    if script not in WITHOUT_SPACES:
        return None
    if found := {"zh": chinese_words, "ja": japanese_words}.get(primary_subtag(language)):
        return found
    raise UserError(
        f"{key}={language!r}: has no spaces between its words (script {script}), and expkit finds such "
        "words in Chinese (zh) and Japanese (ja) only; set task.whole_word_mask=false"
    )


def _letters(text: str) -> tuple[str, Sequence[int]]:
    """Compose each letter with its marks to one character, as dictionaries have it.

    A NUL becomes a space, because MeCab would stop there.

    Returns:
        the composed text, and for each of its characters where it starts in the original.
    """
    text = text.replace("\0", " ")
    if not MARK.search(text):
        return text, range(len(text) + 1)
    found = list(LETTER.finditer(text))
    letters = "".join(unicodedata.normalize("NFC", match.group())[0] for match in found)
    return letters, [*(match.start() for match in found), len(text)]


def _found(text: str, words: list[str]) -> Iterator[Span]:
    """The place of each word in the text. Segmenters drop white space, so the words are searched for."""
    position = 0
    for word in words:
        position = text.index(word, position)
        yield position, position + len(word)
        position += len(word)


def chinese_words(text: str) -> list[str]:
    """The words that jieba finds, without white space."""
    return [word for word in _jieba()(text) if word.strip()]


def japanese_words(text: str) -> list[str]:
    """The words that MeCab finds, without white space, up to the first NUL of each line."""
    return [word.surface for line in text.splitlines() for word in _mecab()(line)]


@cache
def _jieba() -> Callable[[str], list[str]]:
    import jieba

    jieba.setLogLevel("ERROR")
    tokenizer = jieba.Tokenizer()
    tokenizer.initialize()
    return lambda text: list(tokenizer.cut(text))


@cache
def _mecab() -> Callable[[str], list[Any]]:
    import fugashi

    return fugashi.Tagger()
