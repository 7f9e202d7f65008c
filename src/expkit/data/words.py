"""Where the words of a text are, for languages with and without spaces between them."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

Span = tuple[int, int]  # first character, and the one after the last

# A run of letters, digits and marks is a word, any other visible character a word of its own.
RUN = re.compile(r"[^\W_]+|[^\s\w]|_")


def word_spans(text: str, language: str) -> list[Span]:
    """Words in the order of the text; punctuation marks are words of their own.

    Args:
        language: a code such as en, zh or ja. Chinese is cut by jieba, Japanese by MeCab (fugashi)
            with unidic-lite, any other language at spaces and punctuation.
    """
    cut = {"zh": _chinese, "ja": _japanese}.get(language)
    if cut is None:
        return [match.span() for match in RUN.finditer(text)]
    return [
        (start + inner_start, start + inner_end)
        for start, end in _found(text, cut(text))
        for inner_start, inner_end in _without_punctuation(text[start:end])
    ]


def _found(text: str, words: list[str]) -> Iterator[Span]:
    """Segmenters drop white space, so each word is looked for behind the one before."""
    position = 0
    for word in words:
        position = text.index(word, position)
        yield position, position + len(word)
        position += len(word)


def _without_punctuation(word: str) -> list[Span]:
    return [match.span() for match in RUN.finditer(word)]


def _chinese(text: str) -> list[str]:
    return [word for word in _jieba()(text) if word.strip()]


def _japanese(text: str) -> list[str]:
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
