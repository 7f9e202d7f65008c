"""Words of a typed text and where they are."""

import pytest

from expkit.answering.located_words import located
from expkit.terminal.errors import UserError


def test_words_of_a_text() -> None:
    text = "cafe\u0301 don't 3.5 彼はトム々です！한국어 a_b"
    found = located(text)
    assert found.words == [
        *("cafe\u0301", "don", "'", "t", "3", ".", "5"),
        *"彼はトム々です！",
        *("한국어", "a", "_", "b"),
    ]
    assert [text[start:end] for start, end in found.spans] == found.words


def test_marks_belong_to_the_character_before_them() -> None:
    assert located("हिन्दी भाषा, か\u3099ん ⚠\ufe0f").words == [
        *("हिन्दी", "भाषा", ",", "か\u3099", "ん", "⚠\ufe0f")
    ]


def test_words_of_a_list_are_joined_by_spaces() -> None:
    found = located(["New York", "", "is"])
    assert found.text == "New York  is"
    assert found.spans == [(0, 8), (9, 9), (10, 12)]


def test_an_entity_has_the_text_between_its_words() -> None:
    tags = ["O", "B-PER", "I-PER", "B-LOC"]
    assert list(located("by Ann\tLee,").entities(tags, [0.1, 0.5, 0.25, 1.0])) == [
        {"type": "PER", "text": "Ann\tLee", "start": 3, "end": 10, "probability": 0.375},
        {"type": "LOC", "text": ",", "start": 10, "end": 11, "probability": 1.0},
    ]


@pytest.mark.parametrize("value", [5, None, ["a", None]])
def test_neither_text_nor_words(value: object) -> None:
    with pytest.raises(UserError, match="is neither a text nor a list of words"):
        located(value)
