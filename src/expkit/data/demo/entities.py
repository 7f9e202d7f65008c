"""Generated named-entity sentences, small enough to learn from within seconds.

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
import zlib
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

SPLITS = ("train", "validation", "test")
TYPES = ("PER", "ORG", "LOC", "DATE")

# Of every ten names or frames, in sorted order, eight go to train and one to each other split.
_OWNERS = ("train",) * 8 + ("validation", "test")

_TRIES = 100

# In a frame, {UPPER} is an entity slot, looked up in ENTITIES; {lower} is a plain word, tagged O.
FRAMES = (
    "{PER} joined {ORG} as {job} in {YEAR} .",
    "{ORG} reported a profit of {n} million dollars on {DATE} .",
    "Shares of {BARE_ORG} fell {n} percent after the announcement on {DATE} .",
    "{PER_PLACE} has never been to {PLACE} .",
    "The meeting in {LOC} was moved to {DATE} because of the {thing} .",
    "{title} {SURNAME} examined the patient and ordered {n} more tests .",
    "{PER_MONTH} will arrive in {MONTH} if the weather allows it .",
    "According to {PER} , the {thing} cost {n} dollars .",
    "Would {PER} please return the {thing} to the office in {LOC} before {DATE} ?",
    "{BARE_ORG} plans to close its factory in {CITY} and cut {n} jobs .",
    "The court in {CITY} ordered {ORG} to pay {PER} {n} thousand dollars .",
    "{SURNAME} scored twice in the first half , and {SURNAME} was sent off late in the game .",
    "The striker {PER} left {LOC} for a club in {COUNTRY} .",
    "The price of {food} may rise before the winter , and the {thing} may have to wait .",
    "{PER} was born in {CITY} on {DATE} and grew up on a farm .",
    "{ORG_PERSON} is not run by {PER} , whatever the {thing} says .",
    "Fold the {food} into the {food} , cover it and wait {n} minutes .",
    "The train from {CITY} to {CITY} leaves at {day} minutes past nine .",
    "Investors in {BARE_ORG} , led by {SURNAME} , demanded a new board .",
    "Nobody in {PLACE} recognised {PER_PLACE} without the {thing} .",
    "A storm hit the coast of {COUNTRY} on {DATE} and left {n} villages without power .",
    "Please give the {thing} to the {job} , and call me if anything is unclear .",
    '" We never signed the contract , " said {PER} , {job} of {ORG} .',
    "{BARE_ORG} hired {SURNAME} away from {BARE_ORG} .",
    "Researchers at {UNIVERSITY} published the results in {MONTH} .",
    "In {MONTH} , {PER_MONTH} planted {n} rows of beans behind the house .",
    "{COUNTRY} and {COUNTRY} signed a treaty on fishing in {YEAR} .",
    "The {job} repaired the {thing} while the {job} looked for the {food} .",
    "Dear {title} {SURNAME} , your order of {n} lamps was shipped on {DATE} .",
    "{PER} , the former {job} , and {PER} , a {job} , were married in {LOC} .",
    "A spokesman for {BARE_ORG} declined to comment on the resignation of {SURNAME} .",
    "The museum in {CITY} bought {n} letters written by {PER} .",
    "{ORG} will merge with {ORG} by {DATE} , subject to approval .",
    "The {job} and the {job} march past the old {thing} every morning .",
    "{PER} studied chemistry at {UNIVERSITY} and later taught in {LOC} .",
    "The novel by {PER} , set in {PLACE} , won a prize in {YEAR} .",
    "Our flight with {ORG} was delayed in {CITY} for {n} hours .",
    "Police arrested {PER} near {LOC} with {n} stolen bicycles .",
    "Both {PER_PLACE} and {PER_MONTH} asked for the {food} soup .",
    "The mayor of {CITY} , {PER} , opened the new {thing} on {DATE} .",
    "{title} {SURNAME} told the jury that {BARE_ORG} had hidden the {thing} .",
    "It rained in {PLACE} for {n} days , so {PER} stayed at home .",
    "The software was written by {ORG} and tested by {ORG} .",
    "Add {n} grams of {food} and stir until the {food} is soft .",
    "On {DATE} the volcano in {LOC} erupted for {n} minutes .",
    "{PER_PLACE} works for {ORG} but lives in {PLACE} .",
    "{PER} and her brother {PER} inherited {ORG_PERSON} from their mother .",
    "Interest rates in {COUNTRY} stayed at {n} percent in {MONTH} , the central bank said .",
    "Voters in {LOC} go to the polls on {DATE} .",
    "The {thing} was too heavy , so the {job} left it outside .",
    "{ORG} , based in {CITY} , makes {thing} parts for {ORG} .",
    "The coach praised {SURNAME} , who ran {n} kilometres on {DAY} .",
    "{PER} beat {PER} in straight sets in {PLACE} on {DAY} .",
    "Tickets for {DATE} are sold out , but {n} seats remain for {DATE} .",
    "{PER_MONTH} moved from {LOC} to {LOC} in {MONTH} .",
    "The vaccine developed by {BARE_ORG} was approved in {COUNTRY} on {DATE} .",
    "{SURNAME} sued {ORG_PERSON} over the lost {thing} .",
    "Farmers around {CITY} harvested {n} tonnes of {food} .",
    "Is {PER} still the {job} at {ORG} ?",
    "Customers of {BARE_ORG} in {LOC} were charged twice in {MONTH} .",
    "The expedition led by {PER} reached {LOC} in {YEAR} .",
    "Nobody knew why the {thing} smelled of {food} .",
    "{PER} sang at the opera in {PLACE} until {YEAR} .",
    "The bridge near {LOC} was designed by {PER} and built by {ORG} .",
    "Lawyers for {SURNAME} asked {BARE_ORG} for {n} documents .",
    "I met {PER} in {CITY} , and we talked about the {thing} all night .",
    "The satellite was launched from {COUNTRY} on {DATE} by {ORG} .",
    "{PER_PLACE} showed {PER} around {PLACE} on {DAY} .",
    "The hotel in {PLACE} charges {n} dollars a night , {food} included .",
    "Students of {UNIVERSITY} protested on {DATE} against {title} {SURNAME} .",
)

# Entity slot -> (type, patterns). A pattern that is listed twice is drawn twice as often.
ENTITIES: Mapping[str, tuple[str, str]] = {
    "PER": ("PER", "{given} {family}|{given} {family}|{given} {family}|{given}"),
    "SURNAME": ("PER", "{family}"),
    "PER_PLACE": ("PER", "{place}|{place} {family}"),
    "PER_MONTH": ("PER", "{month_name}|{month_name} {family}"),
    "ORG": (
        "ORG",
        "{family} {suffix}|{family} {suffix}|{family} {trade}|{family} {trade}|{city} {trade}|"
        "{coined}|{coined} {suffix}|{given} {family} {trade}|{family} & {family}|"
        "{family} and Sons|Bank of {city}",
    ),
    "ORG_PERSON": ("ORG", "{given} {family} {trade}|{given} {family} {suffix}|{given} {family}"),
    "BARE_ORG": ("ORG", "{family}|{coined}"),
    "UNIVERSITY": ("ORG", "University of {city}|{family} College|{city} Institute"),
    "LOC": ("LOC", "{city}|{city}|{country}|Port {family}|{family} Island"),
    "CITY": ("LOC", "{city}|{city}|New {city}|{place}"),
    "COUNTRY": ("LOC", "{country}"),
    "PLACE": ("LOC", "{place}"),
    "DATE": ("DATE", "{day} {month} {year}|{month} {day} , {year}|{month} {year}|{weekday}"),
    "MONTH": ("DATE", "{month}|{month} {year}"),
    "YEAR": ("DATE", "{year}"),
    "DAY": ("DATE", "{weekday}|{month} {day}"),
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MONTHS = _words(
    "January February March April May June July August September October November December"
)
# A month that is somebody's name in one split is not even a month in the others.
MONTH_NAMES = {"train": ("April", "May"), "validation": ("June",), "test": ("August",)}

# Words that are a place as well as a given name.
PLACE_NAMES = _words(
    "Adelaide Alexandria Asia Austin Boston Brooklyn Cairo Camden Carolina Chad Charlotte Chelsea "
    "Cuba Dakota Dallas Denver Devon Florence Geneva Georgia Hamilton Houston India Israel Jackson "
    "Jordan Kent Kingston Lincoln London Madison Milan Montana Odessa Olympia Orlando Paris "
    "Phoenix Preston Raleigh Regina Savannah Sienna Sofia Sydney Trenton Troy Valencia Verona "
    "Victoria Vienna Virginia"
)

_COINED_STEMS = _words("Alti Brio Celo Dura Evo Fero Gali Hexa Inno Juvo Kino Lumi Mira Novo Omni")
_COINED_ENDS = _words("tek soft gen lytics dyne port via core")

# Words common to all splits, none of which is a name by itself.
_COMMON: Mapping[str, tuple[str, ...]] = {
    "suffix": _words("Inc Ltd LLC PLC Group GmbH AG SA Holdings"),
    "trade": _words("Logistics Foods Airways Motors Insurance Pharma Steel Media"),
    "title": _words("Mr Mrs Ms Dr Professor Judge Captain Senator"),
    "job": _words("engineer director nurse editor baker pilot treasurer analyst plumber tailor"),
    "thing": _words("printer roof ladder invoice engine piano fence map clock parcel radio camera"),
    "food": _words(
        "rice pepper butter onion cheese lentil barley potato plum honey garlic spinach"
    ),
    "n": tuple(str(number) for number in range(2, 100)),
    "day": tuple(str(number) for number in range(1, 29)),
    "year": tuple(str(number) for number in range(1950, 2026)),
    "weekday": _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct records, each {"id", "tokens", "ner_tags"} with BIO tags.

    The records depend on the arguments alone, and a smaller size yields the beginning of a
    larger one. An unknown split or a negative size is refused at the call, not at the first record.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")
    return _generate(split, size, random.Random(f"entities/{split}/{seed}"))


def _generate(split: str, size: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    # Frames are dealt out like names, except that a training frame is used by all splits.
    users = ("train", split)
    frames = [text for index, text in enumerate(FRAMES) if _OWNERS[index % len(_OWNERS)] in users]
    seen: set[tuple[str, ...]] = set()
    while True:
        # Whole rounds rather than single draws, so that a short data set shows every frame too.
        for frame in rng.sample(frames, len(frames)):
            if len(seen) == size:
                return
            if drawn := _draw(frame, split, rng, seen):
                tokens, tags = drawn
                yield {"id": f"{split}-{len(seen)}", "tokens": tokens, "ner_tags": tags}
                seen.add(tuple(tokens))


def _draw(
    frame: str, split: str, rng: random.Random, seen: set[tuple[str, ...]]
) -> tuple[list[str], list[str]] | None:
    """Fill the frame with something new, or give up: a frame without names runs dry in the end."""
    for _ in range(_TRIES):
        tokens, tags = _fill(frame, _words_for(split), rng)
        if tuple(tokens) not in seen and _may_appear_in(split, tokens, tags):
            return tokens, tags
    return None


def _may_appear_in(split: str, tokens: list[str], tags: list[str]) -> bool:
    """Names keep the splits apart; a sentence without one goes where its checksum says."""
    if any(tag != "O" and not tag.endswith("DATE") for tag in tags):
        return True
    return _OWNERS[zlib.crc32(" ".join(tokens).encode()) % len(_OWNERS)] == split


def _fill(
    frame: str, words: Mapping[str, tuple[str, ...]], rng: random.Random
) -> tuple[list[str], list[str]]:
    tokens: list[str] = []
    tags: list[str] = []
    for part in frame.split():
        kind, patterns = ENTITIES.get(part.strip("{}"), ("", part))
        filled = [_word(piece, words, rng) for piece in rng.choice(patterns.split("|")).split()]
        tokens += filled
        tags += [f"{'I' if place else 'B'}-{kind}" if kind else "O" for place in range(len(filled))]
    return tokens, tags


def _word(piece: str, words: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    return rng.choice(words[piece[1:-1]]) if piece.startswith("{") else piece


@cache
def _words_for(split: str) -> Mapping[str, tuple[str, ...]]:
    """Every word list a frame may draw from in this split."""
    elsewhere = {name for other in SPLITS if other != split for name in MONTH_NAMES[other]}
    owned = {
        role: tuple(name for name in names if _owners()[_key(name)] == split)
        for role, names in _candidates().items()
    }
    months = tuple(month for month in MONTHS if month not in elsewhere)
    return {**_COMMON, **owned, "month": months, "month_name": MONTH_NAMES[split]}


@cache
def _owners() -> Mapping[str, str]:
    """The one split each name belongs to, whatever role the name plays there."""
    owners: dict[str, str] = {}
    for names in _candidates().values():
        # Names that an earlier role has placed stay put; the rest are dealt out evenly.
        new = sorted({_key(name) for name in names} - owners.keys())
        owners |= {key: _OWNERS[index % len(_OWNERS)] for index, key in enumerate(new)}
    return owners


@cache
def _candidates() -> Mapping[str, list[str]]:
    american = sorted(AmericanPerson.last_names)
    endings = AmericanAddress.city_suffixes
    built = [name + endings[index % len(endings)] for index, name in enumerate(american)]
    first = (AmericanPerson.first_names, BritishPerson.first_names, FrenchPerson.first_names)
    last = (american, BritishPerson.last_names, FrenchPerson.last_names, GermanPerson.last_names)
    return {
        "place": _usable(PLACE_NAMES),
        "country": _usable(EnglishAddress.countries),
        "city": _usable(GermanAddress.cities, IndianAddress.cities, built[::3]),
        "coined": _usable([stem + end for stem in _COINED_STEMS for end in _COINED_ENDS]),
        "given": _usable(*first),
        "family": _usable(*last),
    }


def _usable(*lists: Iterable[str]) -> list[str]:
    """Single-word names, sorted, less those that are an ordinary word or a month in a frame."""
    names = {name for names in lists for name in names if name.replace("-", "").isalpha()}
    return sorted(name for name in names if len(name) > 2 and _key(name) not in _ordinary_words())


@cache
def _ordinary_words() -> frozenset[str]:
    patterns = [text.replace("|", " ") for _, text in ENTITIES.values()]
    lists = [*_COMMON.values(), MONTHS, *map(_words, FRAMES), *map(_words, patterns)]
    return frozenset(_key(word) for words in lists for word in words)


def _key(name: str) -> str:
    """The name as an uncased, accent-stripping tokenizer sees it ("André" and "andre" are one)."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(char for char in plain if not unicodedata.combining(char)).casefold()
