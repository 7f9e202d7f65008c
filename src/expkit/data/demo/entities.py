"""Generated sentences with named entities, few enough to learn from within seconds.

Hand-written sentence frames are filled with names from Faker's word lists. Three things keep the
task honest although it is generated:

* every name (given name, surname, company, place) belongs to exactly one split, so a score on
  "validation" or "test" cannot come from remembering names;
* one frame in five is held out: half of those appear in "validation" only, half in "test" only;
* the same word serves several types ("Paris" is a city and a given name, "May" a month and a
  given name, a surname is also a company), so the words around a name decide its tag.

The records depend on the installed Faker version, whose word lists grow between releases.
"""

import random
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from faker.providers.address.de_DE import Provider as GermanAddress
from faker.providers.address.en import Provider as EnglishAddress
from faker.providers.address.en_IN import Provider as IndianAddress
from faker.providers.address.en_US import Provider as AmericanAddress
from faker.providers.person.de_DE import Provider as GermanPerson
from faker.providers.person.en_GB import Provider as BritishPerson
from faker.providers.person.en_US import Provider as AmericanPerson
from faker.providers.person.fr_FR import Provider as FrenchPerson

from expkit.data.demo.drawing import OWNERS, SPLITS, distinct, owner, seeded, vocabulary

_TRIES = 100

_VOCABULARY = vocabulary("entities")
FRAMES: tuple[str, ...] = tuple(_VOCABULARY["frames"])
ENTITIES: Mapping[str, list[str]] = _VOCABULARY["entities"]  # slot: type, patterns


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MONTHS = _words(_VOCABULARY["months"])
MONTH_NAMES = {split: _words(names) for split, names in _VOCABULARY["month_names"].items()}

_COMMON: Mapping[str, tuple[str, ...]] = {
    **{kind: _words(words) for kind, words in _VOCABULARY["common"].items()},
    "n": tuple(str(number) for number in range(2, 100)),
    "day": tuple(str(number) for number in range(1, 29)),
    "year": tuple(str(number) for number in range(1950, 2026)),
}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct records, each {"id", "tokens", "ner_tags"} with BIO tags."""
    rng = seeded("entities", split, size, seed)
    # Frames are dealt out like names, except that all splits use the training frames.
    users = ("train", split)
    frames = [text for index, text in enumerate(FRAMES) if OWNERS[index % len(OWNERS)] in users]

    def draw(frame: str) -> tuple[str, dict[str, Any]] | None:
        tokens, tags = _fill(frame, _words_for(split), rng)
        text = " ".join(tokens)
        return (text, {"tokens": tokens, "ner_tags": tags}) if _fits(split, text, tags) else None

    found = distinct(size, lambda: rng.sample(frames, len(frames)), draw, _TRIES)
    return ({"id": f"{split}-{index}", **record} for index, record in enumerate(found))


def types(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """The same sentences as {"id", "text", "labels"}: which types of entity each of them names."""
    for record in examples(split, size, seed):
        named = sorted({tag[2:] for tag in record["ner_tags"]} - {""})
        yield {"id": record["id"], "text": " ".join(record["tokens"]), "labels": named}


def _fits(split: str, text: str, tags: list[str]) -> bool:
    """Whether a sentence belongs to the split: a name decides that, or else the checksum."""
    named = any(tag != "O" and not tag.endswith("DATE") for tag in tags)
    return named or owner(text) == split


def _fill(
    frame: str, words: Mapping[str, tuple[str, ...]], rng: random.Random
) -> tuple[list[str], list[str]]:
    tokens: list[str] = []
    tags: list[str] = []
    for part in frame.split():
        kind, patterns = ENTITIES.get(part.strip("{}"), ["", part])
        pieces = rng.choice(patterns.split("|")).split()
        filled = [rng.choice(words[p[1:-1]]) if p.startswith("{") else p for p in pieces]
        tokens += filled
        tags += [f"{'I' if place else 'B'}-{kind}" if kind else "O" for place in range(len(filled))]
    return tokens, tags


@cache
def _words_for(split: str) -> Mapping[str, tuple[str, ...]]:
    """All word lists from which frames draw in this split."""
    elsewhere = {name for other in SPLITS if other != split for name in MONTH_NAMES[other]}
    owned = {
        role: tuple(name for name in names if _owners()[_key(name)] == split)
        for role, names in _candidates().items()
    }
    months = tuple(month for month in MONTHS if month not in elsewhere)
    return {**_COMMON, **owned, "month": months, "month_name": MONTH_NAMES[split]}


@cache
def _owners() -> Mapping[str, str]:
    """The split to which each name belongs, in whatever role."""
    owners: dict[str, str] = {}
    for names in _candidates().values():
        # Names that have an earlier role too are placed already; the others are dealt out evenly.
        new = sorted({_key(name) for name in names} - owners.keys())
        owners |= {key: OWNERS[index % len(OWNERS)] for index, key in enumerate(new)}
    return owners


@cache
def _candidates() -> Mapping[str, list[str]]:
    american = sorted(AmericanPerson.last_names)
    stems, ends = _words(_VOCABULARY["coined_stems"]), _words(_VOCABULARY["coined_ends"])
    endings = AmericanAddress.city_suffixes
    built = [name + endings[index % len(endings)] for index, name in enumerate(american)]
    first = (AmericanPerson.first_names, BritishPerson.first_names, FrenchPerson.first_names)
    last = (american, BritishPerson.last_names, FrenchPerson.last_names, GermanPerson.last_names)
    return {
        "place": _usable(_words(_VOCABULARY["place_names"])),
        "country": _usable(EnglishAddress.countries),
        "city": _usable(GermanAddress.cities, IndianAddress.cities, built[::3]),
        "coined": _usable([stem + end for stem in stems for end in ends]),
        "given": _usable(*first),
        "family": _usable(*last),
    }


def _usable(*lists: Iterable[str]) -> list[str]:
    """Names of one word, sorted, without those that are also ordinary words or months of a frame."""
    names = {name for names in lists for name in names if name.replace("-", "").isalpha()}
    return sorted(name for name in names if len(name) > 2 and _key(name) not in _ordinary_words())


@cache
def _ordinary_words() -> frozenset[str]:
    patterns = [text.replace("|", " ") for _, text in ENTITIES.values()]
    lists = [*_COMMON.values(), MONTHS, *map(_words, FRAMES), *map(_words, patterns)]
    return frozenset(_key(word) for words in lists for word in words)


def _key(name: str) -> str:
    """The name as an uncased tokenizer without accents sees it: "André" and "andre" are the same."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(char for char in plain if not unicodedata.combining(char)).casefold()
