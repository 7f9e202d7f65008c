"""Which words are masked: whole ones, punctuation apart, in the right share, in three languages."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from expkit.data.words import word_spans
from expkit.models.scratch import TinyBert
from expkit.tasks.masking import NO_WORD, choose, hide, words_of_tokens
from small_tokenizers import byte_level, trimmed_byte_level, unigram, wordpiece

Make = Callable[..., PreTrainedTokenizerBase]
KINDS = [wordpiece, byte_level, trimmed_byte_level, unigram]
ENGLISH = "The old lighthouse-keeper, whom nobody knew, didn't answer: he'd left in 1987."
CHINESE = "同样，施力的大小不同，引起的加速度不同，最终的结果也不一样。"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"


def words(text: str, language: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text, language)]


def test_english_words_are_cut_at_spaces_and_punctuation() -> None:
    assert words("Well, he'd left (in 1987)!", "en") == [
        *("Well", ",", "he", "'", "d", "left", "(", "in", "1987", ")", "!")
    ]


def test_marks_do_not_end_a_word() -> None:
    assert words("हिन्दी भाषा।", "hi") == ["हिन्दी", "भाषा", "।"]
    assert words("می\u200cخواهم", "fa") == ["می\u200cخواهم"]
    assert words("\u0301a ⚠\ufe0fb", "en") == ["\u0301", "a", "⚠\ufe0f", "b"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A naïve café, isn't it?", "en"),
        ("ガラスのビンが１本ある。", "ja"),
        ("那么，ＡＢ和é。", "zh"),
    ],
)
def test_words_do_not_depend_on_how_accents_are_written(text: str, language: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    assert [unicodedata.normalize("NFC", w) for w in words(decomposed, language)] == words(
        text, language
    )


def test_a_nul_is_a_space_in_japanese_and_chinese() -> None:
    assert words("猫\0である。犬も", "ja") == ["猫", "で", "ある", "。", "犬", "も"]
    assert words("最终\0的结果", "zh") == ["最终", "的", "结果"]


@pytest.mark.parametrize("language", ["zh_CN", "zh-Hans", "ZH", "zho"])
def test_only_the_language_of_a_code_counts(language: str) -> None:
    assert words(CHINESE, language) == words(CHINESE, "zh")


def test_chinese_words_are_those_of_jieba() -> None:
    assert words(CHINESE, "zh") == [
        *("同样", "，", "施力", "的", "大小", "不同", "，", "引起", "的", "加速度", "不同", "，"),
        *("最终", "的", "结果", "也", "不", "一样", "。"),
    ]


def test_japanese_words_are_those_of_mecab() -> None:
    assert words(JAPANESE, "ja") == [
        *("吾輩", "は", "猫", "で", "ある", "。", "名前", "は", "まだ", "無い", "。"),
        *("どこ", "で", "生れ", "た", "か", "と", "んと", "見当", "が", "つか", "ぬ", "。"),
    ]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "en"), (CHINESE, "zh"), (JAPANESE, "ja")])
def test_tokens_of_a_word_stay_together_whatever_the_tokenizer(
    make: Make, text: str, language: str
) -> None:
    tokenizer = make([text] * 3)
    spans = word_spans(text, language)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    numbers = words_of_tokens(offsets, spans, text)
    owner = {i: n for n, (start, end) in enumerate(spans) for i in range(start, end)}
    group_of_word: dict[int, set[int]] = {}
    for (start, end), number in zip(offsets, numbers, strict=True):
        for i in range(start, end):
            if i in owner:
                group_of_word.setdefault(owner[i], set()).add(number)
    assert len(group_of_word) == len(spans), "every word has a token"
    assert all(len(groups) == 1 for groups in group_of_word.values()), "no word is in two groups"


def test_special_tokens_belong_to_no_word_and_punctuation_to_its_own() -> None:
    text = "left, left"
    offsets = wordpiece([ENGLISH])(text, return_offsets_mapping=True)["offset_mapping"]
    assert words_of_tokens(offsets, word_spans(text, "en"), text) == [NO_WORD, 0, 1, 2, NO_WORD]


@pytest.mark.parametrize("make", [byte_level, trimmed_byte_level, unigram])
def test_white_space_of_its_own_belongs_to_the_next_word_and_at_the_end_to_the_last(
    make: Make,
) -> None:
    text = "  left,   in "
    tokenizer = make(["left , in"])
    encoded = tokenizer(text, return_offsets_mapping=True)
    found = words_of_tokens(encoded["offset_mapping"], word_spans(text, "en"), text)
    visible = [
        (tokenizer.convert_ids_to_tokens(i).strip("Ġ▁") or " ", number)
        for i, number in zip(encoded["input_ids"], found, strict=True)
    ]
    assert {number for piece, number in visible if piece == " "} == {0, 2}, "the comma has none"
    assert NO_WORD not in [number for piece, number in visible if not piece.startswith("<")]
    assert sorted(found[1:-1]) == found[1:-1], "in the order of the text"


@pytest.mark.parametrize(("text", "language"), [(CHINESE, "zh"), (JAPANESE, "ja")])
def test_which_words_of_a_paragraph_are_masked(text: str, language: str) -> None:
    """Over many draws all words get their turn, each whole, none with its neighbours."""
    characters = len(set(text))
    tokenizer = TinyBert(5 + 2 * characters, 8, 1, 1, 0.0).tokenizer([text])  # no longer pieces
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = word_spans(text, language)
    numbers = np.asarray(words_of_tokens(encoded["offset_mapping"], spans, text))
    seen: set[str] = set()
    for seed in range(200):
        for positions in choose(numbers, 0.15, np.random.default_rng(seed)):
            offsets = [encoded["offset_mapping"][i] for i in positions]
            assert (offsets[0][0], offsets[-1][1]) in spans, "a whole word and no more"
            seen.add(text[offsets[0][0] : offsets[-1][1]])
    assert seen == set(words(text, language))


@pytest.mark.parametrize(
    ("name", "language"), [("wikitext2_en", "en"), ("gsd_zh", "zh"), ("wagahai_ja", "ja")]
)
@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("whole_words", [True, False])
def test_share_of_masked_tokens_over_a_corpus(
    name: str, language: str, make: Make, whole_words: bool, shared_data: Path
) -> None:
    """Of all tokens but the special ones: those that are white space alone count too."""
    lines = (shared_data / "text" / f"{name}.jsonl").read_text().splitlines()[:300]
    texts = [json.loads(line)["text"][:400] for line in lines]
    tokenizer = make(texts, 3000)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    chosen = total = 0
    for seed, text in enumerate(texts):
        encoded = tokenizer(text, return_offsets_mapping=True)
        spans = word_spans(text, language)
        numbers = np.asarray(words_of_tokens(encoded["offset_mapping"], spans, text))
        if not whole_words:
            numbers = np.where(numbers == NO_WORD, NO_WORD, np.arange(len(numbers)))
        total += sum(i not in special for i in encoded["input_ids"])
        chosen += sum(map(len, choose(numbers, 0.15, np.random.default_rng(seed))))
    assert total > 8_000
    assert chosen / total == pytest.approx(0.15, abs=0.005)


def test_80_10_10_for_whole_words() -> None:
    ids = np.arange(100, 160)
    groups = [np.array([i, i + 1]) for i in range(0, 60, 2)]
    counts: Counter[str] = Counter()
    for seed in range(300):
        hidden = hide(ids, groups, 4, np.arange(200, 300), np.random.default_rng(seed))
        for group in groups:
            masked = (hidden[group] == 4).sum()
            assert masked in (0, 2), "a word is masked whole or not at all"
            kept = (hidden[group] == ids[group]).all()
            counts["masked" if masked else "kept" if kept else "random"] += 1
    shares = {case: count / 9000 for case, count in counts.items()}
    assert shares == {
        "masked": pytest.approx(0.8, abs=0.015),
        "random": pytest.approx(0.1, abs=0.015),
        "kept": pytest.approx(0.1, abs=0.015),
    }


def test_special_tokens_are_never_chosen() -> None:
    assert choose(np.array([NO_WORD, NO_WORD]), 0.5, np.random.default_rng(0)) == []
    for seed in range(50):
        for positions in choose(
            np.array([NO_WORD, 0, 1, NO_WORD]), 0.9, np.random.default_rng(seed)
        ):
            assert set(positions) <= {1, 2}
