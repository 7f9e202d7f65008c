"""Sentences of words as model inputs of limited length, without losing a word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase as Tokenizer

Span = tuple[int, int]  # first position, and the one after the last
Inputs = dict[str, list[int]]


@dataclass(frozen=True)
class Window:
    """One model input: a sentence, or a part of a long one.

    `record` is the number of the sentence, `words` are the numbers of the words that this window
    owns, and `spans` the positions of their sub-words in `inputs`. A word that begins in several
    windows is owned by one of them, a word that tokenises to nothing by none.
    """

    record: int
    inputs: Inputs
    words: list[int]
    spans: list[Span]


def windows(
    tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], max_length: int, stride: int
) -> Iterator[Window]:
    """Cut sentences that are longer than `max_length` tokens into overlapping windows.

    Args:
        tokenizer: one that can tell which word a sub-word belongs to.
        stride: sub-words that a window shares with the next one.
    """
    encoding = tokenizer(list(map(list, sentences)), is_split_into_words=True, truncation=False)
    for i in range(len(sentences)):
        inputs = {name: values[i] for name, values in encoding.items()}
        yield from _windows(i, inputs, encoding.word_ids(i), max_length, stride)


def _windows(
    record: int, inputs: Inputs, word_ids: Sequence[int | None], max_length: int, stride: int
) -> Iterator[Window]:
    """The special tokens before and after the sentence are put around each window."""
    spans = word_spans(word_ids)
    if not spans:
        return
    begin, end = min(spans.values())[0], max(spans.values())[1]
    capacity = max_length - (len(word_ids) - (end - begin))
    body = {word: (first - begin, last - begin) for word, (first, last) in spans.items()}
    owned_by = cut(body, end - begin, capacity, stride)
    assert sum(map(len, owned_by.values())) == len(spans), f"sentence {record}: a word is lost"
    for start, owned in owned_by.items():
        stop = start + capacity
        shift = begin - start
        part = {
            name: [*values[:begin], *values[begin:end][start:stop], *values[end:]]
            for name, values in inputs.items()
        }
        places = [(body[w][0] + shift, min(body[w][1], stop) + shift) for w in owned]
        yield Window(record, part, owned, places)


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
