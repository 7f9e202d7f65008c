"""The schemes of tags: what they mean, by hand and by property."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from expkit.answering.tags import (
    SCHEMES,
    Entity,
    encode,
    entities,
    inside,
    parse,
    read,
    to_bio,
    type_of,
)

# Two persons side by side, a place of one word, an organisation of three.
BIO = ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "B-ORG", "I-ORG", "I-ORG"]
WRITTEN = {
    "BIO": BIO,
    "IOB1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "I-ORG", "I-ORG"],
    "IOBES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC", "B-ORG", "I-ORG", "E-ORG"],
    "BILOU": ["B-PER", "L-PER", "U-PER", "O", "U-LOC", "B-ORG", "I-ORG", "L-ORG"],
    "BMES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC", "B-ORG", "M-ORG", "E-ORG"],
    "BMEWO": ["B-PER", "E-PER", "W-PER", "O", "W-LOC", "B-ORG", "M-ORG", "E-ORG"],
}


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Entity], int]:
    """Entities in order, side by side now and then, and the number of words."""
    found, position = [], 0
    for gap, words, kind in draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(["A", "B-x", "人"]))
        )
    ):
        position += gap
        found.append(Entity(kind, position, position + words))
        position += words
    return found, position + draw(st.integers(0, 2))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_is_read_as_bio(scheme: str) -> None:
    assert to_bio(WRITTEN[scheme]) == BIO
    assert encode(entities(BIO), len(BIO), scheme) == WRITTEN[scheme]
    reading = read([WRITTEN[scheme]])
    assert (reading.scheme, reading.repaired, reading.first_repaired) == (scheme, 0, None)
    assert reading.rewritten == sum(a != b for a, b in zip(WRITTEN[scheme], BIO, strict=True))


@settings(deadline=None)
@given(sentences())
def test_every_scheme_holds_the_same_entities(sentence: tuple[list[Entity], int]) -> None:
    found, length = sentence
    bio = encode(found, length)
    for scheme in SCHEMES:
        tags = encode(found, length, scheme)
        assert entities(tags) == found
        assert to_bio(tags) == bio


@settings(deadline=None)
@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])))
def test_broken_bio_holds_the_entities_that_seqeval_sees(tags: list[str]) -> None:
    expected = [Entity(kind, first, last + 1) for kind, first, last in get_entities(tags)]
    assert entities(tags) == expected
    assert to_bio(to_bio(tags)) == to_bio(tags)


@pytest.mark.parametrize(
    ("tags", "bio"),
    [
        ("O I-PER I-PER", "O B-PER I-PER"),  # an I- that starts an entity
        ("B-PER I-LOC", "B-PER B-LOC"),  # an I- of another type
        ("O E-PER O", "O B-PER O"),  # an end without a beginning
        ("B-PER O", "B-PER O"),  # not closed
        ("B-PER E-PER I-PER", "B-PER I-PER B-PER"),  # goes on after its end
        ("S-PER E-PER", "B-PER B-PER"),
        ("B-PER S-PER", "B-PER B-PER"),
        ("B-PER M-PER I-PER E-PER", "B-PER I-PER I-PER I-PER"),  # two ways to go on
        ("O M-PER E-PER", "O B-PER I-PER"),  # a middle without a beginning
        ("B-LOC M-PER", "B-LOC B-PER"),
        ("W-PER M-PER", "B-PER B-PER"),
    ],
)
def test_invalid_prefixes_lose_no_entity(tags: str, bio: str) -> None:
    assert to_bio(tags.split()) == bio.split()


def test_repairs_are_counted_in_the_scheme_that_fits_best() -> None:
    reading = read([["B-PER", "O"], ["I-PER", "I-PER", "O", "I-LOC"], ["B-LOC", "I-LOC", "B-PER"]])
    assert reading.scheme == "BIO"
    assert (reading.repaired, reading.first_repaired) == (2, 1)
    reading = read([["B-PER", "E-PER", "S-LOC", "O", "B-LOC"], ["S-PER", "O"]])
    assert (reading.scheme, reading.repaired, reading.rewritten) == ("IOBES", 1, 3)


def test_a_tag_is_o_or_a_prefix_and_a_type() -> None:
    assert parse("O") == ("", "")
    assert parse("B-PER") == ("B", "PER")
    assert parse("I-work-of-art") == ("I", "work-of-art")
    assert [
        parse(t) for t in ("", "o", "PER", "B", "B-", "X-PER", "BI-PER", "-PER", "B_PER", "B- ")
    ] == ([None] * 10)
    assert (type_of("I-work-of-art"), type_of("O")) == ("work-of-art", "O")
    assert (inside("B-PER"), inside("I-PER"), inside("O")) == ("I-PER", "I-PER", "O")
    with pytest.raises(ValueError, match="'PER' is no tag"):
        entities(["O", "PER"])
