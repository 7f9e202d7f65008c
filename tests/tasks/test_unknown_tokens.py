"""The share of what a vocabulary cannot spell."""

from collections import Counter

import pytest

from expkit.models.scratch import TinyBert
from expkit.tasks.unknown_tokens import note_unknown, unknown_share

TOKENIZER = TinyBert(100, 8, 1, 1, 0.0).tokenizer(["a b"])


def ids(text: str) -> list[int]:
    found: list[int] = TOKENIZER(text)["input_ids"]
    return found


def test_special_tokens_do_not_count() -> None:
    """[CLS] and [SEP] are around each text."""
    assert unknown_share(Counter([*ids("a Ω b Ω"), *ids("a"), *ids("b")]), TOKENIZER) == 2 / 6
    assert unknown_share(Counter(ids("")), TOKENIZER) == 0
    assert unknown_share(Counter(), TOKENIZER) == 0


@pytest.mark.parametrize(
    ("unknown", "said"), [(1, ""), (2, "train: 2.0% of the source tokens are unknown")]
)
def test_a_few_unknown_tokens_are_not_worth_a_line(
    unknown: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    note_unknown(
        "train", "source", Counter(ids("Ω " * unknown + "a " * (100 - unknown))), TOKENIZER
    )
    printed = capsys.readouterr().out
    assert printed.startswith(said)
    assert bool(printed) == bool(said)
