"""Which tokens of a masked language model are hidden, and behind what."""

from collections.abc import Sequence

import numpy as np

from expkit.data.words import Span

NO_WORD = -1  # special tokens belong to no word and are never masked

Array = np.ndarray


def words_of_tokens(offsets: Sequence[Span], words: Sequence[Span], text: str) -> list[int]:
    """The word of each token, as a number that is the same for tokens to be masked together.

    A token that reaches into several words joins them: a word is masked whole or not at all, and
    so is whatever shares a token with it. Some tokenizers count the space before a word to the
    token, some make a token of it: a token is where the first visible character is, from its start
    on. White space at the end of the text belongs to the last word.

    Args:
        offsets: characters of each token, from its first to behind its last; (0, 0) for special
            tokens.
        words: spans of the words, in order.
    """
    starts = np.array([start for start, _ in words] or [0])
    joined = list(range(len(words)))
    found = []
    for start, end in offsets:
        if end == 0 or not words:
            found.append(NO_WORD)
            continue
        while start < len(text) and text[start].isspace():
            start += 1
        first = max(int(np.searchsorted(starts, start, side="right")) - 1, 0)
        last = max(int(np.searchsorted(starts, end - 1, side="right")) - 1, 0)
        for word in range(first + 1, last + 1):
            joined[word] = joined[first]
        found.append(first)
    return [joined[word] if word != NO_WORD else NO_WORD for word in found]


def choose(words: Array, probability: float, rng: np.random.Generator) -> list[Array]:
    """Positions to hide, one array for each chosen word.

    Words are drawn at random until `probability` of all tokens that belong to a word are chosen.
    The word that would exceed that share is taken with the probability that makes the expected
    share exact.

    Args:
        words: (length,) word of each token, NO_WORD for special tokens.
    """
    maskable = np.flatnonzero(words != NO_WORD)
    if not len(maskable):
        return []
    order = maskable[np.argsort(words[maskable], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(words[order])) + 1)
    budget = probability * len(maskable)
    chosen: list[Array] = []
    for i in rng.permutation(len(groups)):
        group = groups[i]
        if budget < len(group):
            if rng.random() < budget / len(group):
                chosen.append(group)
            break
        budget -= len(group)
        chosen.append(group)
    return chosen


def hide(
    ids: Array, chosen: Sequence[Array], mask_id: int, vocabulary: Array, rng: np.random.Generator
) -> Array:
    """A copy of `ids` with 80 % of the chosen words masked, 10 % random, 10 % as they were.

    The three cases of BERT (Devlin et al., 2019), drawn once for a word, so that no part of a
    hidden word stays readable.

    Args:
        vocabulary: ids that a random token may take.
    """
    hidden = ids.copy()
    for positions in chosen:
        case = rng.random()
        if case < 0.8:
            hidden[positions] = mask_id
        elif case < 0.9:
            hidden[positions] = rng.choice(vocabulary, size=len(positions))
    return hidden
