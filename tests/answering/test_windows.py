"""Long sentences in windows: each word exactly once, where it has most context."""

from hypothesis import given, settings
from hypothesis import strategies as st

from expkit.answering.windows import cut, windows, word_spans
from expkit.models.scratch import TinyBert

TOKENIZER = TinyBert(100, 8, 1, 1, 0.0).tokenizer(["John lives in"])
# Whole in the vocabulary, cut into characters, one unknown piece, and four that become nothing.
WORDS = ("john", "in", "jonis", "vesh", "Ω", "", "\u200b", "\x00", " ")


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=40), min_size=1, max_size=3),
    st.integers(4, 20),
    st.integers(0, 10),
)
def test_each_word_is_owned_once_at_its_first_sub_word(
    sentences: list[list[str]], max_length: int, stride: int
) -> None:
    """What the owners say is compared with the whole sentence, encoded without windows."""
    owned: dict[tuple[int, int], tuple[list[int], int]] = {}
    for window in windows(TOKENIZER, sentences, max_length, stride):
        ids = window.inputs["input_ids"]
        assert len(ids) <= max_length
        assert (ids[0], ids[-1]) == (TOKENIZER.cls_token_id, TOKENIZER.sep_token_id)
        assert {len(values) for values in window.inputs.values()} == {len(ids)}
        assert window.words == sorted(window.words)
        assert window.words
        for word, (first, end) in zip(window.words, window.spans, strict=True):
            assert (window.record, word) not in owned
            owned[window.record, word] = ids[first:end], len(ids)
    for record, words in enumerate(sentences):
        for number, word in enumerate(words):
            pieces = TOKENIZER(word, add_special_tokens=False)["input_ids"]
            if not pieces:
                assert (record, number) not in owned
                continue
            found, _ = owned[record, number]
            assert found
            assert found == pieces[: len(found)], "the first sub-word is missing"


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 12))
@settings(deadline=None)
def test_a_word_is_owned_where_its_poorer_side_is_longest(
    length: int, capacity: int, stride: int
) -> None:
    """Words of one sub-word each."""
    owned = cut({i: (i, i + 1) for i in range(length)}, length, capacity, stride)
    starts = sorted(owned)
    assert sorted(word for words in owned.values() for word in words) == list(range(length))
    for start, words in owned.items():
        for word in words:
            context = {s: min(word - s, s + capacity - word - 1) for s in starts}
            assert context[start] == max(context.values())


def test_by_hand() -> None:
    """Nine words in windows of six sub-words that share four; word 5 has two sub-words.

    Word 4 has 4 before it and 1 behind it in the first window, 2 and 3 in the second; word 5 has 3
    and 1 in the second, 1 and 3 in the third, and stays in the earlier one.
    """
    spans = {w: (w, w + 1) for w in range(5)} | {5: (5, 7), 6: (7, 8), 7: (8, 9), 8: (9, 10)}
    assert cut(spans, 10, 6, 4) == {0: [0, 1, 2, 3], 2: [4, 5], 4: [6, 7, 8]}


def test_a_window_that_begins_within_a_word() -> None:
    """`vesh` is v ##e ##s ##h: windows of three hold its end without owning it."""
    found = list(windows(TOKENIZER, [["in", "vesh", "in"]], 5, 0))
    assert [TOKENIZER.convert_ids_to_tokens(w.inputs["input_ids"]) for w in found] == [
        ["[CLS]", "in", "v", "##e", "[SEP]"],
        ["[CLS]", "##s", "##h", "in", "[SEP]"],
    ]
    assert [(w.words, w.spans) for w in found] == [([0, 1], [(1, 2), (2, 4)]), ([2], [(3, 4)])]


def test_a_word_longer_than_a_window_is_owned_by_its_beginning() -> None:
    found = list(windows(TOKENIZER, [["in", "jonis" * 5, "in"]], 6, 2))
    assert [w.words for w in found] == [[0, 1], [2]]
    assert found[0].spans == [(1, 2), (2, 5)]


def test_special_tokens_that_are_words_stay_words() -> None:
    (window,) = windows(TOKENIZER, [["[CLS]", "in", "[SEP]"]], 8, 0)
    assert (window.words, window.spans) == ([0, 1, 2], [(1, 2), (2, 3), (3, 4)])


def test_spans_of_words() -> None:
    assert word_spans([None, 0, 0, 2, None]) == {0: (1, 3), 2: (3, 4)}
