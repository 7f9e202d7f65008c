"""Generated paraphrase pairs whose label cannot be read off the word overlap.

Every pair comes from a hand-written frame: a small event with two participants of one type, one
quantity and sometimes a city. All wordings of a frame say the same thing, so two of them with
the same facts are a positive. A negative changes a fact: another quantity, other names, or the
participants swapped ("A sued B" against "B sued A", but never against "B was sued by A").

Two things keep the overlap uninformative. The wordings of a frame range from reordered clauses
(all words shared) to other verbs (few shared), and the sentences of every record are picked
among random candidates so that a record of the other label could have had the same overlap.

The names depend on the version of Faker; with the same one every machine yields the same records.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from faker import Faker
from faker.providers.geo import Provider as Geo
from faker.providers.person.en_US import Provider as People

from expkit.data.demo.vocabulary import HERE

# Dealt by rank in one list of all names; three fifths go to the training data.
SPLITS = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}

# Other names weigh most because they are learned first: with fewer of them a small model spends
# its first epoch on a plateau. Swapped roles are the hardest kind, hence a fifth only.
CHANGES = ("name", "name", "name", "quantity", "swap")

# Fixed shares per block instead of coin tosses: even a short prefix is balanced.
BLOCK = tuple(product(CHANGES, (0, 1)))

MONTHS = "January February March April May June July August September October November December"
NUMBER_WORDS = "two three four five six seven eight nine ten eleven twelve"
COMPANY_SUFFIXES = ("Group", "Inc", "Ltd", "LLC", "PLC")
UNITS = ("million", "thousand")
REUSED = {word.lower() for word in (*COMPANY_SUFFIXES, *UNITS)}

# Common names and short cities are single tokens for most tokenizers, which makes training
# faster and keeps the task about comparing facts rather than about spelling.
COMMON_NAMES = 450
CITY_LENGTH = 8


@dataclass(frozen=True)
class Frame:
    """One event; swapping {a} and {b} must always make it another event."""

    domain: str
    roles: str
    quantity: str
    wordings: tuple[str, ...]


# The notation is described at the head of the file.
FRAME_TEXT = re.sub(
    r"^#.*\n", "", (HERE / "paraphrases.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
)


def _parse(text: str) -> Iterator[Frame]:
    for block in re.split(r"\n(?=\S)", text.strip()):
        head, *lines = block.split("\n")
        domain, roles, quantity = head.split()
        wordings = tuple(wording.strip() for line in lines for wording in line.split(" / "))
        yield Frame(domain, roles, quantity, wordings)


FRAMES = tuple(_parse(FRAME_TEXT))

# A fact is the tuple of its spellings; which of them is used differs between the sentences.
Fact = tuple[str, ...]
Facts = dict[str, Fact]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Names:
    """The one-word names of a split; companies are built from the last names."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    city: tuple[str, ...]


def words(sentence: str) -> list[str]:
    """Lower-case words and numbers, the unit in which overlap is counted."""
    return re.findall(r"[a-z0-9]+", sentence.lower())


def _common(weights: dict[str, float]) -> set[str]:
    return set(sorted(weights, key=lambda name: (-weights[name], name))[:COMMON_NAMES])


@cache
def names(split: str) -> Names:
    """The names that only this split uses.

    All names are dealt out from one sorted list, so a word that is both a last name and a city
    still belongs to a single split. Names that are also ordinary words of a sentence ("May",
    "April") are left out.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    ordinary = set(words(" ".join((FRAME_TEXT, MONTHS, NUMBER_WORDS, *COMPANY_SUFFIXES, *UNITS))))
    first, last = _common(People.first_names), _common(People.last_names)
    city = {place[2] for place in Geo.land_coords if len(place[2]) <= CITY_LENGTH}
    usable = sorted(
        name
        for name in first | last | city
        if name.isascii() and name.isalpha() and name.lower() not in ordinary
    )
    mine = {name for rank, name in enumerate(usable) if rank % 5 in SPLITS[split]}
    return Names(*(tuple(sorted(mine & pool)) for pool in (first, last, city)))


def _person(fake: Faker, pool: Names) -> Fact:
    return (fake.random_element(pool.first),)


def _surname(fake: Faker, pool: Names) -> Fact:
    name = fake.random_element(pool.last)
    # The usual spelling is repeated since all are equally likely; the title stays the exception.
    return (name, name, name, name, f"Dr {name}")


def _company(fake: Faker, pool: Names) -> Fact:
    return (f"{fake.random_element(pool.last)} {fake.random_element(COMPANY_SUFFIXES)}",)


def _city(fake: Faker, pool: Names) -> Fact:
    return (fake.random_element(pool.city),)


def _money(fake: Faker, pool: Names) -> Fact:
    number, unit = fake.random_int(2, 99), fake.random_element(UNITS)
    return (f"${number} {unit}", f"{number} {unit} dollars")


def _date(fake: Faker, pool: Names) -> Fact:
    month, day = fake.random_element(MONTHS.split()), fake.random_int(1, 28)
    return (f"{month} {day}", f"{day} {month}")


def _percent(fake: Faker, pool: Names) -> Fact:
    number = fake.random_int(5, 60)
    return (f"{number}%", f"{number} percent")


def _count(fake: Faker, pool: Names) -> Fact:
    number = fake.random_int(2, 12)
    return (str(number), str(number), str(number), NUMBER_WORDS.split()[number - 2])


DRAW: dict[str, Callable[[Faker, Names], Fact]] = {
    "person": _person,
    "surname": _surname,
    "company": _company,
    "city": _city,
    "money": _money,
    "date": _date,
    "percent": _percent,
    "count": _count,
}


def _draw(fake: Faker, pool: Names, kind: str, facts: Iterable[Fact]) -> Fact:
    """A fact that cannot be mistaken for one of the given ones: it shares no word with them."""
    used = {word for fact in facts for word in words(fact[0])} - REUSED
    while True:
        fact = DRAW[kind](fake, pool)
        if not used.intersection(words(fact[0])):
            return fact


def _slots(frame: Frame) -> dict[str, str]:
    slots = {"a": frame.roles, "b": frame.roles, "q": frame.quantity}
    return slots | {"city": "city"} if "{city}" in frame.wordings[0] else slots


def _facts(fake: Faker, pool: Names, frame: Frame) -> Facts:
    facts: Facts = {}
    for slot, kind in _slots(frame).items():
        facts[slot] = _draw(fake, pool, kind, facts.values())
    return facts


def _changed(fake: Faker, pool: Names, frame: Frame, facts: Facts, change: str) -> Facts:
    if change == "swap":
        return facts | {"a": facts["b"], "b": facts["a"]}
    slots = _slots(frame)
    named = [slot for slot in slots if slot != "q"]
    # Two new names at times: a single one is too faint for a small model to start from.
    changed = ["q"] if change == "quantity" else fake.random_sample(named, fake.random_int(1, 2))
    new = dict(facts)
    for slot in changed:
        new[slot] = _draw(fake, pool, slots[slot], [*facts.values(), *new.values()])
    return new


def _render(fake: Faker, wording: str, facts: Facts) -> str:
    spelled = {slot: fake.random_element(fact) for slot, fact in facts.items()}
    sentence = wording.format(**spelled)
    return sentence[0].upper() + sentence[1:]


def _candidates(fake: Faker, frame: Frame, one: Facts, two: Facts) -> list[Pair]:
    """A few pairs to choose from: two draws of different wordings, each spelled twice.

    More draws would even the overlap out further, but then the wordings themselves would tell
    the label, because negatives would get the similar ones.
    """
    drawn = [fake.random_sample(frame.wordings, 2) for _ in range(2)]
    return [(_render(fake, x, one), _render(fake, y, two)) for x, y in drawn for _ in range(2)]


def _overlap(pair: Pair) -> tuple[int, int, int]:
    one, two = (set(words(sentence)) for sentence in pair)
    return len(one & two), len(one), len(two)


def _record(fake: Faker, pool: Names, change: str, label: int) -> dict[str, Any]:
    """Finds a negative and a positive with like overlap and returns the one of this label."""
    frame = fake.random_element(FRAMES)
    facts = _facts(fake, pool, frame)
    changed = _changed(fake, pool, frame, facts, change)
    twins = min(
        product(_candidates(fake, frame, facts, changed), _candidates(fake, frame, facts, facts)),
        key=lambda twins: sum(
            abs(x - y) for x, y in zip(_overlap(twins[0]), _overlap(twins[1]), strict=True)
        ),
    )
    one, two = twins[label]
    return {"sentence1": one, "sentence2": two, "label": label}


def _generate(pool: Names, key: str, size: int) -> Iterator[dict[str, Any]]:
    fake = Faker("en_US")
    fake.seed_instance(key)
    seen: set[frozenset[str]] = set()
    while len(seen) < size:
        # The whole block is drawn whatever the size, or a short run would not be a prefix.
        for change, label in fake.random_sample(BLOCK, len(BLOCK)):
            record = _record(fake, pool, change, label)
            while frozenset((record["sentence1"], record["sentence2"])) in seen:
                record = _record(fake, pool, change, label)
            seen.add(frozenset((record["sentence1"], record["sentence2"])))
            yield record
            if len(seen) == size:
                return


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Pairs labelled 1 (same meaning) or 0; a shorter run is a prefix of a longer one.

    An unknown split is refused here, not at the first record.
    """
    return _generate(names(split), f"paraphrases/{split}/{seed}", size)
