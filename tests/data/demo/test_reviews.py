"""The demo of text regression: unseen reviews, and stars that follow from their words."""

import pytest

from expkit.data.demo.reviews import examples

SIZE = 600


def test_a_smaller_size_is_the_beginning_of_a_larger_one() -> None:
    assert list(examples("train", 50, 7)) == list(examples("train", SIZE, 7))[:50]
    assert list(examples("train", 50, 7)) != list(examples("train", 50, 8))


def test_no_review_is_in_two_splits_or_twice() -> None:
    texts = [r["text"] for s in ("train", "validation", "test") for r in examples(s, SIZE, 0)]
    assert len(set(texts)) == 3 * SIZE


def test_the_stars_are_the_mean_of_what_two_sentences_say() -> None:
    reviews = {r["text"]: r["score"] for r in examples("train", SIZE, 0)}
    assert all(1 <= score <= 5 for score in reviews.values())
    praised = [score for text, score in reviews.items() if text.count(" was excellent.") == 1]
    assert min(praised) >= 3
    assert len(set(reviews.values())) > 100
    assert sum(reviews.values()) / SIZE == pytest.approx(3, abs=0.3)
