"""Texts that are almost the same: MinHash proposes pairs, and each of them is verified exactly."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from rensa import RMinHash, RMinHashLSH

LEAST_SIMILARITY = 0.7  # of two sentences of ten words that differ in one of them
PIECE = 3  # characters; words would need blanks between them
# With 32 bands of 4 rows a pair of this similarity is proposed with a probability above 0.999.
HASHES, BANDS = 128, 32
AT_ONCE = 1000  # texts whose pieces are in memory


def first_similar(texts: Mapping[int, str], among: Iterable[str]) -> dict[int, int]:
    """The key of each text that is similar to one of `among`, with the position of the first such one.

    The similarity is the Jaccard index of the sets of three characters in a row, without regard to
    case, blanks and the form of characters.
    """
    index = RMinHashLSH(threshold=LEAST_SIMILARITY, num_perm=HASHES, num_bands=BANDS)
    for key, (_, sketch) in zip(texts, _sketched(texts.values()), strict=True):
        index.insert(key, sketch)
    found: dict[int, int] = {}
    for position, (pieces, sketch) in enumerate(_sketched(among)):
        for key in index.query(sketch):
            if key not in found and _similarity(pieces, _pieces(texts[key])) >= LEAST_SIMILARITY:
                found[key] = position
    return found


def _sketched(texts: Iterable[str]) -> Iterator[tuple[set[str], RMinHash]]:
    rest = iter(texts)
    while chunk := [_pieces(text) for text in islice(rest, AT_ONCE)]:
        yield from zip(chunk, RMinHash.from_token_sets(chunk, num_perm=HASHES, seed=1), strict=True)


def _pieces(text: str) -> set[str]:
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return {plain[i : i + PIECE] for i in range(max(1, len(plain) - PIECE + 1))}


def _similarity(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)
