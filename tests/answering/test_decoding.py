"""The most probable valid sequence of tags, against all that there are."""

from itertools import pairwise, product

import numpy as np
import pytest

from expkit.answering.decoding import most_probable, outside

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def is_valid(tags: tuple[str, ...]) -> bool:
    """Each I- goes on with an entity of its type."""
    return all(
        not tag.startswith("I-") or before in (tag, "B" + tag[1:])
        for before, tag in pairwise(("O", *tags))
    )


def by_trying_all(scores: np.ndarray, labels: list[str]) -> list[int]:
    ids = product(range(len(labels)), repeat=len(scores))
    valid = (path for path in ids if is_valid(tuple(labels[i] for i in path)))
    return list(max(valid, key=lambda path: sum(scores[range(len(path)), path])))


def random_scores(words: int, seed: int, count: int = len(LABELS)) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (words, count))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("words", [1, 2, 3, 5])
@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1]], ids=["O first", "O last"])
def test_it_is_the_best_of_all_valid_sequences(words: int, labels: list[str]) -> None:
    decoded = [most_probable(random_scores(words, seed), labels) for seed in range(20)]
    assert decoded == [by_trying_all(random_scores(words, seed), labels) for seed in range(20)]
    argmax = [random_scores(words, seed).argmax(1).tolist() for seed in range(20)]
    assert decoded != argmax, "nothing had to be mended"


def test_long_sentences_are_valid_too() -> None:
    for seed in range(20):
        ids = most_probable(random_scores(300, seed), LABELS)
        assert len(ids) == 300
        assert is_valid(tuple(LABELS[i] for i in ids))


def test_what_is_valid_already_stays() -> None:
    ids = [0, 1, 2, 2, 3, 4, 1, 0]
    assert most_probable(np.log(np.eye(5, dtype=np.float32)[ids] + 0.01), LABELS) == ids
    assert most_probable([], LABELS) == []


def test_a_word_without_tokens_ends_an_entity() -> None:
    """Its tag is O, whatever comes; so an I- behind it begins nothing."""
    scores = [*random_scores(1, 0), outside(LABELS), *random_scores(1, 1)]
    scores[2] = np.log(np.array([0.01, 0.2, 0.7, 0.05, 0.04], np.float32))
    assert most_probable(scores, LABELS)[1:] == [0, 1]


def test_labels_that_lack_some_tags() -> None:
    """Without B-LOC there is no way to an I-LOC."""
    labels = ["I-LOC", "O", "B-PER"]
    scores = np.log(np.array([[0.8, 0.1, 0.1], [0.8, 0.05, 0.15]], np.float32))
    assert most_probable(scores, labels) in ([1, 2], [2, 2])
    assert most_probable(scores, labels) == by_trying_all(scores, labels)
