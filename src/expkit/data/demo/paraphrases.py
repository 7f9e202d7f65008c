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

from expkit.data.demo.drawing import distinct, seeded, vocabulary

# Names are dealt out by their rank in one list; three fifths go to the training data.
RANKS = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}

# Changed names are the most frequent, because they are learned first: with fewer of them, a small
# model spends its first epoch on a plateau. Swapped roles are hardest, so they are a fifth only.
CHANGES = ("name", "name", "name", "quantity", "swap")

# A block has all kinds of records in fixed shares, so even a short data set is balanced.
BLOCK = tuple(product(CHANGES, (0, 1)))

# Most tokenizers have one token for a common name or a short city. That makes training faster, and
# the task is then about facts rather than about spelling.
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
        """The facts that its sentences tell, each with its type."""
        slots = {"a": self.roles, "b": self.roles, "q": self.quantity}
        return slots | {"city": "city"} if "{city}" in self.wordings[0] else slots


_VOCABULARY = vocabulary("paraphrases")
FRAMES = tuple(Frame(tuple(wordings), *head.split()) for head, *wordings in _VOCABULARY["frames"])
SPELLINGS: Mapping[str, Sequence[str]] = _VOCABULARY["spellings"]
MONTHS, NUMBERS, SUFFIXES, UNITS = (
    tuple(_VOCABULARY[name].split()) for name in ("months", "numbers", "suffixes", "units")
)
REUSED = {word.lower() for word in (*SUFFIXES, *UNITS)}

# For each word of a spelling, the list from which it is drawn.
Words = Mapping[str, Sequence[Any]]
# A fact is the tuple of its spellings, and each sentence uses one of them.
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
    """The words and numbers of a sentence in lower case, which the overlap counts."""
    return re.findall(r"[a-z0-9]+", sentence.lower())


def _most_common(weights: Mapping[str, float]) -> set[str]:
    return set(sorted(weights, key=lambda name: (-weights[name], name))[:COMMON_NAMES])


@cache
def names(split: str) -> dict[str, tuple[str, ...]]:
    """The first names, last names and cities of one word that only this split uses.

    All names are dealt out from one sorted list, so a word that is both a last name and a city
    belongs to one split too. Names that are also ordinary words, such as "May", are left out.
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
    """Draw a fact that shares no word with the others, so that it cannot be mistaken for them."""
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
    # Sometimes two names change, as one alone is too little for a small model to start from.
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

    With more draws, negatives and positives would be more alike in their overlap. But negatives would
    get the similar wordings, and then the wordings would give the label away.
    """
    drawn = [rng.sample(frame.wordings, 2) for _ in range(2)]
    return [(_render(rng, x, one), _render(rng, y, two)) for x, y in drawn for _ in range(2)]


def _overlap(pair: Pair) -> tuple[int, int, int]:
    one, two = (set(words(sentence)) for sentence in pair)
    return len(one & two), len(one), len(two)


def _record(
    rng: random.Random, pool: Words, change: str, label: int
) -> tuple[frozenset[str], dict[str, Any]]:
    """Find a negative and a positive with like overlap; return the texts and the record of one."""
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
    rng = seeded("paraphrases", split, size, seed)
    pool = {**_COMMON, **names(split)}
    return distinct(
        size, lambda: rng.sample(BLOCK, len(BLOCK)), lambda plan: _record(rng, pool, *plan), _TRIES
    )
