"""Sentences of words as model inputs of limited length, without losing a word."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from expkit.tasks.pretokenized import require_words

Span = tuple[int, int]  # first position, and the one after the last

ENCODED_AT_ONCE = 1000  # sentences


@dataclass(frozen=True)
class Window:
    """One model input: a sentence, or a part of a long one.

    `record` is the number of the sentence, `words` are the numbers of the words that this window
    owns, and `spans` the positions of their sub-words in `inputs`. A word that begins in several
    windows is owned by one of them, a word that tokenises to nothing by none.
    """

    record: int
    inputs: dict[str, list[int]]
    words: list[int]
    spans: list[Span]


def windows(
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[Sequence[str]],
    max_length: int,
    stride: int,
) -> Iterator[Window]:
    """Cut sentences that are longer than `max_length` tokens into overlapping windows.

    Args:
        stride: sub-words that a window shares with the next one.

    Raises:
        UserError: the tokenizer cannot tell which word a sub-word belongs to.
    """
    require_words(tokenizer)
    for begin in range(0, len(sentences), ENCODED_AT_ONCE):
        chunk = [list(words) for words in sentences[begin : begin + ENCODED_AT_ONCE]]
        encoding = tokenizer(chunk, is_split_into_words=True, truncation=False)
        for i in range(len(chunk)):
            inputs = {name: values[i] for name, values in encoding.items()}
            yield from _windows(begin + i, inputs, encoding.word_ids(i), max_length, stride)


def left_out(
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[Sequence[str]],
    owned: Set[tuple[int, int]],
) -> Iterator[tuple[int, int]]:
    """Words that no window owns although they have tokens: there should be none.

    Args:
        owned: numbers of sentence and word, as is what this yields.
    """
    unowned = [
        (i, j)
        for i, words in enumerate(sentences)
        for j in range(len(words))
        if (i, j) not in owned
    ]
    for begin in range(0, len(unowned), ENCODED_AT_ONCE):
        chunk = unowned[begin : begin + ENCODED_AT_ONCE]
        alone = [[sentences[i][j]] for i, j in chunk]
        tokens = tokenizer(alone, is_split_into_words=True, add_special_tokens=False)["input_ids"]
        yield from (place for place, ids in zip(chunk, tokens, strict=True) if ids)


def _windows(
    record: int,
    inputs: dict[str, list[int]],
    word_ids: Sequence[int | None],
    max_length: int,
    stride: int,
) -> Iterator[Window]:
    """The special tokens before and after the sentence are put around each window."""
    spans = word_spans(word_ids)
    if not spans:
        return
    begin, end = min(spans.values())[0], max(spans.values())[1]
    capacity = max_length - (len(word_ids) - (end - begin))
    body = {word: (first - begin, last - begin) for word, (first, last) in spans.items()}
    for start, owned in cut(body, end - begin, capacity, stride).items():
        stop = start + capacity
        shift = begin - start
        yield Window(
            record,
            {
                name: [*values[:begin], *values[begin:end][start:stop], *values[end:]]
                for name, values in inputs.items()
            },
            owned,
            [(body[w][0] + shift, min(body[w][1], stop) + shift) for w in owned],
        )


def word_spans(word_ids: Sequence[int | None]) -> dict[int, Span]:
    """Where the sub-words of each word are, for words that have any; None marks special tokens."""
    spans: dict[int, Span] = {}
    for position, word in enumerate(word_ids):
        if word is not None:
            first, _ = spans.get(word, (position, position))
            spans[word] = (first, position + 1)
    return spans


def cut(spans: dict[int, Span], length: int, capacity: int, stride: int) -> dict[int, list[int]]:
    """Windows of `capacity` sub-words, by their first position, with the words that each owns.

    A word is owned by the window that begins before it and has most sub-words on its poorer side;
    a window that owns no word is left out.
    """
    starts = _starts(length, capacity, stride)
    owned: dict[int, list[int]] = {start: [] for start in starts}
    for word, (first, end) in spans.items():
        holding = [start for start in starts if start <= first < start + capacity]
        best = max(holding, key=lambda s: min(first - s, s + capacity - end))
        owned[best].append(word)
    return {start: words for start, words in owned.items() if words}


def _starts(length: int, capacity: int, stride: int) -> list[int]:
    """The last window ends with the sentence, so that it has as much context as the others."""
    last = max(length - capacity, 0)
    return [*range(0, last, max(capacity - stride, 1)), last]
