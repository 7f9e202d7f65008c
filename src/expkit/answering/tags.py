"""Tags of entities: reading the schemes in use and writing them as BIO.

A tag is `O`, or a prefix, a dash and the type of an entity. The schemes differ in the prefixes:

    scheme  one word  first word  inside  last word
    BIO     B         B           I       I          (also called IOB2)
    IOB1    I         I           I       I          B where an entity of the same type ends just before
    IOBES   S         B           I       E
    BILOU   U         B           I       L          (also called BIOUL)
    BMES    S         B           M       E          (usual for Chinese)
    BMEWO   W         B           M       E

Ramshaw and Marcus, 1995, https://aclanthology.org/W95-0107; Ratinov and Roth, 2009,
https://aclanthology.org/W09-1119.
"""

from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE = "O"
PREFIXES = "BIESLUMW"
# In the order in which they are tried: of schemes that fit equally well, the first is taken.
SCHEMES = {
    "BIO": ("B", "B", "I", "I"),
    "IOB1": ("I", "I", "I", "I"),
    "IOBES": ("S", "B", "I", "E"),
    "BILOU": ("U", "B", "I", "L"),
    "BMES": ("S", "B", "M", "E"),
    "BMEWO": ("W", "B", "M", "E"),
}


@dataclass(frozen=True)
class Entity:
    """The words from `start` up to, and not including, `end`."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """How the tags of a data set were understood.

    `rewritten` counts the tags whose BIO form is another one, `repaired` those that are invalid in
    `scheme`; `first_repaired` is the number of the first sentence that has one of them.
    """

    scheme: str
    rewritten: int
    repaired: int
    first_repaired: int | None


def parse(tag: str) -> tuple[str, str] | None:
    """Prefix and type, both empty for `O`; None if `tag` is written in another way."""
    if tag == OUTSIDE:
        return "", ""
    prefix, dash, kind = tag.partition("-")
    is_tag = dash and kind.strip() and len(prefix) == 1 and prefix in PREFIXES
    return (prefix, kind) if is_tag else None


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence in any of the schemes.

    An invalid prefix loses no entity: an I-, M-, E- or L- that continues nothing starts an entity, and
    an entity that is not closed ends where the next one or an `O` begins.

    Raises:
        ValueError: a tag that `parse` cannot read.
    """
    found: list[Entity] = []
    is_open = False
    for i, tag in enumerate(tags):
        parts = parse(tag)
        if parts is None:
            raise ValueError(f"{tag!r} is no tag")
        prefix, kind = parts
        if prefix and is_open and prefix in "IELM" and found[-1].type == kind:
            found[-1] = Entity(kind, found[-1].start, i + 1)
        elif prefix:
            found.append(Entity(kind, i, i + 1))
        is_open = bool(prefix) and prefix in "BIM"
    return found


def encode(found: Sequence[Entity], length: int, scheme: str = "BIO") -> list[str]:
    """The tags of a sentence of `length` words whose entities are given in order."""
    single, first, inside, last = SCHEMES[scheme]
    tags = [OUTSIDE] * length
    before = None
    for entity in found:
        words = entity.end - entity.start
        prefixes = [single] if words == 1 else [first, *[inside] * (words - 2), last]
        if scheme == "IOB1" and before and (before.type, before.end) == (entity.type, entity.start):
            prefixes[0] = "B"
        tags[entity.start : entity.end] = [f"{prefix}-{entity.type}" for prefix in prefixes]
        before = entity
    return tags


def to_bio(tags: Sequence[str]) -> list[str]:
    """The same entities in BIO."""
    return encode(entities(tags), len(tags))


def inside(tag: str) -> str:
    """The BIO tag of what follows within the word that has this tag."""
    return f"I-{tag[2:]}" if tag.startswith("B-") else tag


def type_of(tag: str) -> str:
    """The type of the entity that a word belongs to, or `O`."""
    return tag.partition("-")[2] or tag


def read(sentences: Sequence[Sequence[str]]) -> Reading:
    """Find the scheme in which the fewest tags are invalid, and count what BIO changes."""
    found = [entities(tags) for tags in sentences]
    wrong = {
        scheme: [
            sum(map(str.__ne__, tags, encode(of_tags, len(tags), scheme)))
            for tags, of_tags in zip(sentences, found, strict=True)
        ]
        for scheme in SCHEMES
    }
    scheme = min(SCHEMES, key=lambda name: sum(wrong[name]))
    first = next((i for i, count in enumerate(wrong[scheme]) if count), None)
    return Reading(scheme, sum(wrong["BIO"]), sum(wrong[scheme]), first)
