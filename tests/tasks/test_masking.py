"""Which words are masked: whole ones, punctuation apart, in the right share, in three languages."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertTokenizer, PreTrainedTokenizerFast

from expkit.data.words import word_spans
from expkit.models.scratch import TinyBert
from expkit.tasks.masking import NO_WORD, choose, hide, words_of_tokens

ENGLISH = "The old lighthouse-keeper, whom nobody knew, didn't answer: he'd left in 1987."
CHINESE = "同样，施力的大小不同，引起的加速度不同，最终的结果也不一样。"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"


def words(text: str, language: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text, language)]


def test_english_words_are_cut_at_spaces_and_punctuation() -> None:
    assert words("Well, he'd left (in 1987)!", "en") == [
        *("Well", ",", "he", "'", "d", "left", "(", "in", "1987", ")", "!")
    ]


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


def byte_level(texts: list[str]) -> PreTrainedTokenizerFast:
    """As in GPT-2 and RoBERTa: a piece holds the space before it, a character may be cut."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    pieces.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pieces)


def unigram(texts: list[str]) -> PreTrainedTokenizerFast:
    """As in SentencePiece: spaces become a mark in front of a word."""
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    pieces.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>")


def wordpiece(texts: list[str]) -> BertTokenizer:
    return TinyBert(120, 8, 1, 1, 0.0).tokenizer(texts)  # type: ignore[return-value]


@pytest.mark.parametrize("make", [wordpiece, byte_level, unigram])
@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "en"), (CHINESE, "zh"), (JAPANESE, "ja")])
def test_tokens_of_a_word_stay_together_whatever_the_tokenizer(
    make: object, text: str, language: str
) -> None:
    tokenizer = make([text] * 3)  # type: ignore[operator]
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
@pytest.mark.parametrize("whole_words", [True, False])
def test_share_of_masked_tokens_over_a_corpus(
    name: str, language: str, whole_words: bool, shared_data: Path
) -> None:
    import json

    lines = (shared_data / "text" / f"{name}.jsonl").read_text().splitlines()[:300]
    texts = [json.loads(line)["text"][:400] for line in lines]
    if language == "zh":
        vocabulary = shared_data / "tokenizers" / "bert_base_chinese" / "vocab.txt"
        tokenizer = BertTokenizer(vocab=str(vocabulary))
    else:
        tokenizer = wordpiece(texts)
    chosen = total = 0
    for seed, text in enumerate(texts):
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        numbers = np.asarray(words_of_tokens(offsets, word_spans(text, language), text))
        if not whole_words:
            numbers = np.where(numbers == NO_WORD, NO_WORD, np.arange(len(numbers)))
        total += int((numbers != NO_WORD).sum())
        chosen += sum(map(len, choose(numbers, 0.15, np.random.default_rng(seed))))
    assert total > 10_000
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
