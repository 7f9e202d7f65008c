"""Generated short passages in which most words can be told from the words around them.

A passage is a hand-written frame of three to six sentences, filled with rows of small fact
tables: a weekday brings its neighbours, an animal its sound and its home, a profession its place
of work, a capital its country, an adjective its opposite. A person keeps one name and one set of
pronouns, verbs agree with their subjects, and sums are right. A masked word is therefore usually
determined by the rest, so a model that has learned the tables leaves the unigram distribution far
behind, and the vocabulary is small enough to learn from nothing.

Facts and frames are the same in every split; a passage as a whole belongs to exactly one.
"""

import random
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

SPLITS = ("train", "validation", "test")

# Of every ten possible passages, eight belong to train and one to each other split.
_OWNERS = ("train",) * 8 + ("validation", "test")

_TRIES = 300

# {table[field]} is a cell of the row drawn for this passage; table2 is another row of that table.
# Sentences are written without a capital where they may begin with any cell.
FRAMES = (
    "today is {day[name]}. yesterday was {day[before]}, and tomorrow will be {day[after]}. on "
    "{day[name]} {person[name]} goes to the {job[place]}, because {person[she]} is {job[a]} "
    "{job[name]}.",
    "there are seven days in a week. after {day[name]} comes {day[after]}, and after "
    "{day[after]} comes {day[later]}. {person[name]} likes {day[name]}, but {person2[name]} "
    "likes {day2[name]}.",
    "{person[name]} lost {person[her]} {thing[name]} on {day[name]}. {person[she]} asked "
    "{person2[name]}, but {person2[she]} had not seen it. on {day[after]} {person[name]} found "
    "the {thing[name]} under {person[her]} bed. {person[she]} was very happy.",
    "it is {month[name]}. last month was {month[before]}, and next month will be {month[after]}. "
    "{month[name]} is in {month[season]}. on {day[name]} {person[name]} wears a "
    "{month[clothes]}, because it is {month[weather]} in {month[season]}.",
    "{person[name]} was born in {month[name]}, and {person2[name]} was born in {month2[name]}. "
    "in {month[name]} it is {month[weather]}. in {month2[name]} it is {month2[weather]}. "
    "{person[name]} likes {month[season]}, but {person2[name]} likes {month2[season]}.",
    "{person[name]} works in a {job[place]}. {person[she]} is {job[a]} {job[name]}, and "
    "{person[she]} {job[does]} {job[object]}. {person2[name]} works in a {job2[place]}. "
    "{person2[she]} is {job2[a]} {job2[name]}, and {person2[she]} {job2[does]} {job2[object]}.",
    '"where do you work?" asks {person[name]}. "I work in a {job[place]}," says {person2[name]}. '
    '"then you are {job[a]} {job[name]}," says {person[name]}. "yes, I {job[do]} {job[object]} '
    'on {day[name]} and on {day[after]}."',
    "when {person[name]} was {person[a_child]}, {person[she]} wanted to be {job[a]} {job[name]}. "
    "now {person[she]} works in a {job2[place]} in {city[name]}. {person[she]} is {job2[a]} "
    "{job2[name]} and {job2[does]} {job2[object]}.",
    "{person[name]} has {animal[a]} {animal[name]} and {animal2[a]} {animal2[name]}. on "
    "{day[name]} the {animal[name]} {animal[sounds]}, and the {animal2[name]} {animal2[sounds]}. "
    "all {animal[plural]} {animal[sound]}, and all {animal2[plural]} {animal2[sound]}.",
    "{person[name]} likes the {animal[name]}, which lives in the {animal[home]}. it eats "
    "{animal[food]}, and it {animal[sounds]} at night. {animal2[plural]} do not {animal[sound]}: "
    "they {animal2[sound]}. they live in the {animal2[home]} and eat {animal2[food]}.",
    "one {animal[name]} is in the {animal[home]}. it {animal[sounds]}. {number[name]} "
    "{animal2[plural]} are in the {animal2[home]}. they {animal2[sound]}. {person[name]} gives "
    "the {animal[name]} some {animal[food]}, and {person[she]} gives the {animal2[plural]} some "
    "{animal2[food]}.",
    "the {animal[name]} has a child. the child of {animal[a]} {animal[name]} is called a "
    "{animal[child]}. the {animal[child]} cannot {animal[sound]} yet. in {month[season]} the "
    "{animal[child]} and the {animal[name]} stay in the {animal[home]} of {person[name]}, "
    "because it is {month[weather]}.",
    "in {month[name]} {person[name]} travelled to {city[name]}. {city[name]} is the capital of "
    "{city[country]}. the people in {city[country]} speak {city[language]}. {person[name]} "
    "speaks {city[language]} too, but {person[her]} brother speaks only {city2[language]}.",
    "the train leaves {city[name]} on {day[name]}. it arrives in {city2[name]} on {day[after]}. "
    "{city[name]} is in {city[country]}, and {city2[name]} is in {city2[country]}. "
    "{person[name]} sleeps on the train.",
    "what is the capital of {city[country]}? it is {city[name]}. what is the capital of "
    "{city2[country]}? it is {city2[name]}. {person[name]} knows both, because {person[she]} "
    "works in a {job[place]} in {city[name]}.",
    "the {thing[name]} of {person[name]} is {quality[name]}. it is not {quality[opposite]}. the "
    "{thing2[name]} is {quality[opposite]}. so the {thing[name]} is {quality[more]} than the "
    "{thing2[name]}, and the {thing2[name]} is {quality[less]} than the {thing[name]}.",
    "{person[name]} wants a {quality[name]} {thing[name]}. {person[her]} {thing[name]} is "
    "{quality[opposite]}. {person2[name]} has a {quality[name]} {thing[name]}, but "
    "{person2[she]} does not sell it. the {thing[plural]} in the shop are {quality[opposite]} "
    "too.",
    "the {thing[plural]} of {person[name]} are {quality[more]} than the {thing[plural]} of "
    "{person2[name]}. {person[name]} likes {quality[name]} {thing[plural]}. {person2[name]} "
    "likes {quality[opposite]} {thing[plural]}. every {thing[name]} of {person2[name]} is "
    "{quality[opposite]}.",
    "{person[name]} has {number[name]} {thing[plural]}. {person2[name]} gives {person[him]} one "
    "more {thing[name]}. now {person[she]} has {number[after]} {thing[plural]}. {person2[name]} "
    "has {number[double]} {thing[plural]}, and {number[name]} and {number[name]} make "
    "{number[double]}.",
    "{person[name]} is {number[name]} years old. next year {person[she]} will be "
    "{number[after]}. {person[her]} sister is {number[double]} years old. {number[name]} and "
    "{number[name]} make {number[double]}. {person[her]} sister is {job[a]} {job[name]} in a "
    "{job[place]}.",
    "{person[name]} wanted to {tool[do]} the {tool[object]}. {person[she]} borrowed a "
    "{tool[name]} from {person2[name]}. with the {tool[name]} {person[she]} {tool[did]} the "
    "{tool[object]}. {person[she]} gave the {tool[name]} back on {day[name]}.",
    "you {tool[do]} the {tool[object]} with a {tool[name]}. you {tool2[do]} the {tool2[object]} "
    "with a {tool2[name]}. {person[name]} needs a {tool[name]} and a {tool2[name]}. "
    "{person[she]} {tool[did]} the {tool[object]} on {day[name]}, and {person[she]} {tool2[did]} "
    "the {tool2[object]} on {day[after]}.",
    "{person[name]} buys {number[name]} {fruit[plural]} and {number[after]} {fruit2[plural]}. "
    "the {fruit[plural]} are {fruit[colour]} and taste {fruit[taste]}. the {fruit2[plural]} are "
    "{fruit2[colour]} and taste {fruit2[taste]}.",
    "in the morning {person[name]} eats a {fruit[name]} for breakfast. at noon {person[she]} "
    "eats a {fruit2[name]} for lunch. the {fruit[name]} is {fruit[colour]}, and the "
    "{fruit2[name]} is {fruit2[colour]}. in the evening {person[she]} gives {animal[food]} to "
    "{person[her]} {animal[name]}.",
)


def _table(fields: str, *rows: str) -> list[dict[str, str]]:
    names = fields.split("/")
    return [dict(zip(names, row.split("/"), strict=True)) for row in rows]


def _round(names: str) -> list[dict[str, str]]:
    """A row per name, with the names around it; the last name is followed by the first."""
    ring = names.split()
    around = zip(ring[-1:] + ring, ring, ring[1:] + ring, ring[2:] + ring, strict=False)
    return [
        {"before": before, "name": name, "after": after, "later": later}
        for before, name, after, later in around
    ]


def _months() -> list[dict[str, str]]:
    seasons = _table(
        "season/weather/clothes",
        "winter/cold/coat",
        "spring/mild/jacket",
        "summer/hot/hat",
        "autumn/windy/scarf",
    )
    names = "January February March April May June July August September October November December"
    return [
        # December, January and February are winter, and so on around the year.
        {**month, **seasons[(index + 1) // 3 % 4]}
        for index, month in enumerate(_round(names))
    ]


def _qualities() -> list[dict[str, str]]:
    """Both directions of each pair of opposites."""
    pairs = (
        "big/bigger/small/smaller",
        "good/better/bad/worse",
        "heavy/heavier/light/lighter",
        "clean/cleaner/dirty/dirtier",
        "soft/softer/hard/harder",
        "wide/wider/narrow/narrower",
        "long/longer/short/shorter",
        "strong/stronger/weak/weaker",
        "wet/wetter/dry/drier",
    )
    return _table("name/more/opposite/less", *pairs) + _table("opposite/less/name/more", *pairs)


_GIRLS = ("Anna", "Clara", "Emma", "Julia", "Laura", "Maria", "Nora", "Ruth")
_BOYS = ("Adam", "David", "Henry", "Jack", "Oliver", "Peter", "Simon", "Tom")

TABLES: Mapping[str, list[dict[str, str]]] = {
    "person": _table(
        "name/she/her/him/a_child",
        *(f"{name}/she/her/her/a girl" for name in _GIRLS),
        *(f"{name}/he/his/him/a boy" for name in _BOYS),
    ),
    "day": _round("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "month": _months(),
    # From two on, so that the noun after a number is always plural.
    "number": _table(
        "name/after/double",
        *("two/three/four", "three/four/six", "four/five/eight", "five/six/ten"),
        *("six/seven/twelve", "seven/eight/fourteen", "eight/nine/sixteen"),
        *("nine/ten/eighteen", "ten/eleven/twenty"),
    ),
    "quality": _qualities(),
    "thing": _table(
        "name/plural",
        *("box/boxes", "bag/bags", "boat/boats", "rope/ropes", "shirt/shirts", "carpet/carpets"),
        *("bench/benches", "ladder/ladders", "basket/baskets", "blanket/blankets"),
    ),
    "animal": _table(
        "a/name/plural/sounds/sound/home/food/child",
        "a/dog/dogs/barks/bark/kennel/bones/puppy",
        "a/cat/cats/meows/meow/house/fish/kitten",
        "a/cow/cows/moos/moo/barn/grass/calf",
        "a/pig/pigs/grunts/grunt/sty/scraps/piglet",
        "a/horse/horses/neighs/neigh/stable/hay/foal",
        "a/duck/ducks/quacks/quack/pond/weeds/duckling",
        "a/hen/hens/clucks/cluck/coop/corn/chick",
        "a/lion/lions/roars/roar/den/meat/cub",
        "a/goat/goats/bleats/bleat/shed/leaves/kid",
        "an/owl/owls/hoots/hoot/tree/mice/fledgling",
        "an/elephant/elephants/trumpets/trumpet/jungle/roots/calf",
    ),
    "job": _table(
        "a/name/place/does/do/object",
        "a/nurse/hospital/helps/help/patients",
        "a/teacher/school/teaches/teach/children",
        "a/baker/bakery/bakes/bake/bread",
        "a/waiter/restaurant/serves/serve/guests",
        "a/judge/court/hears/hear/cases",
        "a/librarian/library/lends/lend/books",
        "a/cook/kitchen/makes/make/soup",
        "a/mechanic/garage/repairs/repair/cars",
        "a/chemist/laboratory/mixes/mix/liquids",
        "a/gardener/park/plants/plant/flowers",
        "a/miner/mine/digs/dig/coal",
        "an/actor/theatre/plays/play/kings",
        "an/engineer/factory/builds/build/engines",
    ),
    "city": _table(
        "name/country/language",
        *("Paris/France/French", "Rome/Italy/Italian", "Madrid/Spain/Spanish"),
        *("Berlin/Germany/German", "Athens/Greece/Greek", "Lisbon/Portugal/Portuguese"),
        *("Oslo/Norway/Norwegian", "Tokyo/Japan/Japanese", "Cairo/Egypt/Arabic"),
        *("Moscow/Russia/Russian", "Warsaw/Poland/Polish", "London/England/English"),
    ),
    "tool": _table(
        "name/do/did/object",
        "knife/cut/cut/bread",
        "pen/write/wrote/letter",
        "broom/sweep/swept/floor",
        "spoon/stir/stirred/soup",
        "key/open/opened/door",
        "towel/dry/dried/dishes",
        "brush/paint/painted/wall",
        "needle/sew/sewed/button",
        "match/light/lit/candle",
    ),
    "fruit": _table(
        "name/plural/colour/taste",
        *("lemon/lemons/yellow/sour", "cherry/cherries/red/sweet", "plum/plums/purple/sweet"),
        *("lime/limes/green/sour", "carrot/carrots/orange/mild", "banana/bananas/yellow/sweet"),
        *("radish/radishes/red/hot", "grape/grapes/green/sweet", "nut/nuts/brown/bitter"),
    ),
}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct passages, each {"text"}, that no other split can contain.

    The passages depend on the arguments alone, and a smaller size yields the beginning of a
    larger one. An unknown split or a negative size is refused at the call, not at the first record.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")
    return _generate(split, size, random.Random(f"passages/{split}/{seed}"))


def _generate(split: str, size: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    while True:
        before = len(seen)
        # Whole rounds rather than single draws, so that a short data set shows every frame too.
        for frame in rng.sample(FRAMES, len(FRAMES)):
            if len(seen) == size:
                return
            if text := _draw(frame, split, rng, seen):
                yield {"text": text}
                seen.add(text)
        if len(seen) == before:
            raise ValueError(f"no more than {before} passages of split {split!r} could be found")


def _draw(frame: str, split: str, rng: random.Random, seen: set[str]) -> str | None:
    """Fill the frame with something new, or give up: a small frame runs dry in the end."""
    for _ in range(_TRIES):
        text = _fill(frame, rng)
        if text not in seen and _owner(text) == split:
            return text
    return None


def _fill(frame: str, rng: random.Random) -> str:
    cells: dict[str, dict[str, str]] = {}
    for name, rows in TABLES.items():
        cells[name], cells[f"{name}2"] = rng.sample(rows, 2)
    return _capitalised(frame.format_map(cells))


def _capitalised(text: str) -> str:
    return re.sub(r'(^|[.?!] )("?[a-z])', lambda match: match[1] + match[2].upper(), text)


def _owner(text: str) -> str:
    """The split of a passage, from a checksum that is the same on every machine."""
    return _OWNERS[zlib.crc32(text.encode()) % len(_OWNERS)]
