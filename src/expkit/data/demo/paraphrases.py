"""Generated paraphrase pairs whose label cannot be read off the word overlap.

Every pair comes from a hand-written frame: a small event with two participants of one type, one
quantity and sometimes a city. All wordings of a frame say the same thing, so two of them with
the same facts are a positive. A negative changes a fact: another quantity, other names, or the
participants swapped ("A sued B" against "B sued A", but never against "B was sued by A").

Two things keep the overlap uninformative. The wordings of a frame range from reordered clauses
(all words shared) to other verbs (few shared), and the sentences of every record are picked
among random candidates so that a record of the other label could have had the same overlap.

The names come from Faker's word lists and depend on its version; with the same one every machine
yields the same records.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from faker.providers.geo import Provider as Geo
from faker.providers.person.en_US import Provider as People

from expkit.data.demo.drawing import distinct, require, vocabulary

# Dealt by rank in one list of all names; three fifths go to the training data.
RANKS = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}

# Other names weigh most because they are learned first: with fewer of them a small model spends
# its first epoch on a plateau. Swapped roles are the hardest kind, hence a fifth only.
CHANGES = ("name", "name", "name", "quantity", "swap")

# Fixed shares per block instead of coin tosses: even a short prefix is balanced.
BLOCK = tuple(product(CHANGES, (0, 1)))

# Common names and short cities are single tokens for most tokenizers, which makes training
# faster and keeps the task about comparing facts rather than about spelling.
COMMON_NAMES = 450
CITY_LENGTH = 8

_TRIES = 10_000


@dataclass(frozen=True)
class Frame:
    """One event; swapping {a} and {b} must always make it another event."""

    wordings: tuple[str, ...]
    domain: str
    roles: str
    quantity: str

    @property
    def slots(self) -> dict[str, str]:
        """What its sentences tell, and of which type that is."""
        slots = {"a": self.roles, "b": self.roles, "q": self.quantity}
        return slots | {"city": "city"} if "{city}" in self.wordings[0] else slots


_VOCABULARY = vocabulary("paraphrases")
FRAMES = tuple(Frame(tuple(wordings), *head.split()) for head, *wordings in _VOCABULARY["frames"])
SPELLINGS: Mapping[str, Sequence[str]] = _VOCABULARY["spellings"]
MONTHS, NUMBERS, SUFFIXES, UNITS = (
    tuple(_VOCABULARY[name].split()) for name in ("months", "numbers", "suffixes", "units")
)
REUSED = {word.lower() for word in (*SUFFIXES, *UNITS)}

# What the words of a spelling are drawn from.
Words = Mapping[str, Sequence[Any]]
# A fact is the tuple of its spellings; which of them is used differs between the sentences.
Fact = tuple[str, ...]
Facts = dict[str, Fact]
Pair = tuple[str, str]

_COMMON: Words = {
    "suffix": SUFFIXES,
    "unit": UNITS,
    "month": MONTHS,
    "day": range(1, 29),
    "amount": range(2, 100),
    "percent": range(5, 61),
    "count": tuple(enumerate(NUMBERS, start=2)),
}


def words(sentence: str) -> list[str]:
    """Lower-case words and numbers, the unit in which overlap is counted."""
    return re.findall(r"[a-z0-9]+", sentence.lower())


def _most_common(weights: Mapping[str, float]) -> set[str]:
    return set(sorted(weights, key=lambda name: (-weights[name], name))[:COMMON_NAMES])


@cache
def names(split: str) -> dict[str, tuple[str, ...]]:
    """The one-word names that only this split uses: first names, last names and cities.

    All names are dealt out from one sorted list, so a word that is both a last name and a city
    still belongs to a single split. Names that are also ordinary words of a sentence ("May",
    "April") are left out.
    """
    text = [wording for frame in FRAMES for wording in frame.wordings]
    ordinary = set(words(" ".join((*text, *MONTHS, *NUMBERS, *SUFFIXES, *UNITS))))
    pools = {
        "first": _most_common(People.first_names),
        "last": _most_common(People.last_names),
        "city": {place[2] for place in Geo.land_coords if len(place[2]) <= CITY_LENGTH},
    }
    usable = sorted(
        name
        for name in set().union(*pools.values())
        if name.isascii() and name.isalpha() and name.lower() not in ordinary
    )
    mine = {name for rank, name in enumerate(usable) if rank % 5 in RANKS[split]}
    return {kind: tuple(sorted(mine & pool)) for kind, pool in pools.items()}


def _draw(rng: random.Random, pool: Words, kind: str, others: Iterable[Fact]) -> Fact:
    """A fact that cannot be mistaken for one of the others: it shares no word with them."""
    spellings = SPELLINGS[kind]
    used = {word for fact in others for word in words(fact[0])} - REUSED
    while True:
        drawn = {slot: rng.choice(pool[slot]) for slot in re.findall(r"{(\w+)", spellings[0])}
        fact = tuple(spelling.format_map(drawn) for spelling in spellings)
        if not used.intersection(words(fact[0])):
            return fact


def _facts(rng: random.Random, pool: Words, frame: Frame) -> Facts:
    facts: Facts = {}
    for slot, kind in frame.slots.items():
        facts[slot] = _draw(rng, pool, kind, facts.values())
    return facts


def _changed(rng: random.Random, pool: Words, frame: Frame, facts: Facts, change: str) -> Facts:
    if change == "swap":
        return facts | {"a": facts["b"], "b": facts["a"]}
    named = [slot for slot in frame.slots if slot != "q"]
    # Two new names at times: a single one is too faint for a small model to start from.
    changed = ["q"] if change == "quantity" else rng.sample(named, rng.randint(1, 2))
    new = dict(facts)
    for slot in changed:
        new[slot] = _draw(rng, pool, frame.slots[slot], [*facts.values(), *new.values()])
    return new


def _render(rng: random.Random, wording: str, facts: Facts) -> str:
    spelled = {slot: rng.choice(fact) for slot, fact in facts.items()}
    sentence = wording.format(**spelled)
    return sentence[0].upper() + sentence[1:]


def _candidates(rng: random.Random, frame: Frame, one: Facts, two: Facts) -> list[Pair]:
    """A few pairs to choose from: two draws of different wordings, each spelled twice.

    More draws would even the overlap out further, but then the wordings themselves would tell
    the label, because negatives would get the similar ones.
    """
    drawn = [rng.sample(frame.wordings, 2) for _ in range(2)]
    return [(_render(rng, x, one), _render(rng, y, two)) for x, y in drawn for _ in range(2)]


def _overlap(pair: Pair) -> tuple[int, int, int]:
    one, two = (set(words(sentence)) for sentence in pair)
    return len(one & two), len(one), len(two)


def _record(
    rng: random.Random, pool: Words, change: str, label: int
) -> tuple[frozenset[str], dict[str, Any]]:
    """Find a negative and a positive with like overlap; return the texts and record of this label."""
    frame = rng.choice(FRAMES)
    facts = _facts(rng, pool, frame)
    changed = _changed(rng, pool, frame, facts, change)
    twins = min(
        product(_candidates(rng, frame, facts, changed), _candidates(rng, frame, facts, facts)),
        key=lambda twins: sum(
            abs(x - y) for x, y in zip(_overlap(twins[0]), _overlap(twins[1]), strict=True)
        ),
    )
    one, two = twins[label]
    return frozenset(twins[label]), {"sentence1": one, "sentence2": two, "label": label}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct pairs, labelled 1 (same meaning) or 0."""
    require(split, size)
    rng = random.Random(f"paraphrases/{split}/{seed}")
    pool = {**_COMMON, **names(split)}
    return distinct(
        size, lambda: rng.sample(BLOCK, len(BLOCK)), lambda plan: _record(rng, pool, *plan), _TRIES
    )
