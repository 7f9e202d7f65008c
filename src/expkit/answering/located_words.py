"""The words of a sentence with their places in its text, to say where an entity is."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import UserError, tags

Span = tuple[int, int]  # first character, and the one after the last

# Characters that belong to the one before: accents, vowel signs of Hindi, the voicing mark of kana,
# variation selectors, and the joiners of Persian and Hindi. They are listed for character classes of
# `re`, which has no \p{M}. Above U+FFFF the list has the selectors only, because every further range
# takes time at each word.
MARKS = (
    "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c).startswith("M"))
    + "\u200c\u200d\U000e0100-\U000e01ef"
)
DIGITS = 6  # of a probability that is shown
# A run of letters and digits is a word, and so is any other visible character, among them each Chinese
# character and each kana; each with its marks.
CJK = (
    r"\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff"
)
WORD = re.compile(rf"(?:(?![{CJK}_])\w[{MARKS}]*)+|\S[{MARKS}]*")


@dataclass(frozen=True)
class LocatedWords:
    """A text, its words, and the span of characters of each of them."""

    text: str
    words: list[str]
    spans: list[Span]

    def entities(
        self, bio: Sequence[str], probabilities: Sequence[float]
    ) -> Iterator[dict[str, Any]]:
        """Type, text, character offsets and mean probability of each entity."""
        for entity in tags.entities(bio):
            start, end = self.spans[entity.start][0], self.spans[entity.end - 1][1]
            scores = probabilities[entity.start : entity.end]
            yield {
                "type": entity.type,
                "text": self.text[start:end],
                "start": start,
                "end": end,
                "probability": round(sum(scores) / len(scores), DIGITS),
            }


def located(sentence: object) -> LocatedWords:
    """The words of a text, or a list of words as a text with spaces between them.

    Raises:
        UserError: `sentence` is neither.
    """
    if isinstance(sentence, str):
        found = list(WORD.finditer(sentence))
        return LocatedWords(sentence, [m.group() for m in found], [m.span() for m in found])
    if not isinstance(sentence, list) or not all(isinstance(word, str) for word in sentence):
        raise UserError(f"{sentence!r:.60} is neither a text nor a list of words")
    spans, position = [], 0
    for word in sentence:
        spans.append((position, position + len(word)))
        position += len(word) + 1
    return LocatedWords(" ".join(sentence), sentence, spans)
