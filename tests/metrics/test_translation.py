"""BLEU and chrF are sacreBLEU's own numbers, on segmented text and with several references."""

import math

import pytest
import sacrebleu

from expkit.metrics.translation import BLEU, ChrF

PREDICTIONS = ["私は木曜日からウクライナ語を勉強し始めます。", "今日は晴れです。"]
REFERENCES = ["私は水曜日からウクライナ語を勉強し始めます。", "今日の天気は晴れです。"]
SEGMENTED_PREDICTIONS = [
    "私 は 木曜 日 から ウクライナ 語 を 勉強 し 始め ます 。",
    "今日 は 晴れ です 。",
]
SEGMENTED_REFERENCES = [
    "私 は 水曜 日 から ウクライナ 語 を 勉強 し 始め ます 。",
    "今日 の 天気 は 晴れ です 。",
]


def bleu(metric: BLEU, predictions: list[str], references: list[list[str]]) -> float:
    return metric.compute(predictions=predictions, references=references)["bleu"]


def test_japanese_bleu_by_hand() -> None:
    """13 and 5 words. What holds 木曜 is wrong in the first sentence, 今日 は in the second."""
    matches = [12 + 5, 10 + 3, 8 + 2, 7 + 1]
    totals = [13 + 5, 12 + 4, 11 + 3, 10 + 2]
    logs = [math.log(m / t) for m, t in zip(matches, totals, strict=True)]
    brevity = math.exp(1 - 20 / 18)
    by_hand = 100 * brevity * math.exp(sum(logs) / 4)
    references = [[r] for r in REFERENCES]
    assert bleu(BLEU("ja"), PREDICTIONS, references) == pytest.approx(by_hand)


def test_japanese_bleu_is_that_of_sacrebleu_on_segmented_text() -> None:
    expected = sacrebleu.corpus_bleu(
        SEGMENTED_PREDICTIONS, [SEGMENTED_REFERENCES], tokenize="none", force=True
    ).score
    assert bleu(BLEU("ja"), PREDICTIONS, [[r] for r in REFERENCES]) == pytest.approx(expected)
    assert bleu(BLEU("ja", "none"), PREDICTIONS, [[r] for r in REFERENCES]) < expected / 10


def test_two_references_a_sentence() -> None:
    second = ["私は木曜日からタイ語を勉強し始めます。", "晴れです。"]
    segmented = ["私 は 木曜 日 から タイ 語 を 勉強 し 始め ます 。", "晴れ です 。"]
    expected = sacrebleu.corpus_bleu(
        SEGMENTED_PREDICTIONS, [SEGMENTED_REFERENCES, segmented], tokenize="none", force=True
    ).score
    pairs = [list(pair) for pair in zip(REFERENCES, second, strict=True)]
    scored = bleu(BLEU("ja"), PREDICTIONS, pairs)
    assert scored == pytest.approx(expected)
    assert scored > bleu(BLEU("ja"), PREDICTIONS, [[r] for r in REFERENCES]) + 1
    chrf = ChrF().compute(predictions=PREDICTIONS, references=pairs)["chrf"]
    assert chrf == pytest.approx(sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES, second]).score)


def test_sentences_may_have_different_numbers_of_references() -> None:
    references = [[REFERENCES[0], PREDICTIONS[0]], [PREDICTIONS[1]]]
    assert bleu(BLEU("ja"), PREDICTIONS, references) == pytest.approx(100)
    assert "nrefs:var|" in BLEU("ja").signature(references)


def test_references_may_be_plain_texts() -> None:
    scores = BLEU("ja").compute(predictions=REFERENCES, references=REFERENCES)
    assert scores == {"bleu": pytest.approx(100)}


@pytest.mark.parametrize(("language", "tokenize"), [("zh", "zh"), ("en", "13a")])
def test_other_languages_are_left_to_sacrebleu(language: str, tokenize: str) -> None:
    predictions = ["我从星期三开始学习法语。", "I won't go, said the man to her."]
    references = ["我从星期四开始学习法语。", "I won't go, said the man to him."]
    expected = sacrebleu.corpus_bleu(predictions, [references], tokenize=tokenize).score
    assert bleu(BLEU(language), predictions, [[r] for r in references]) == pytest.approx(expected)


def test_chinese_words_instead_of_characters() -> None:
    predictions, references = ["我从星期三开始学习法语。"], [["我从星期四开始学习法语。"]]
    expected = sacrebleu.corpus_bleu(
        ["我 从 星期三 开始 学习 法语 。"],
        [["我 从 星期四 开始 学习 法语 。"]],
        tokenize="none",
        force=True,
    ).score
    assert bleu(BLEU("zh", "jieba"), predictions, references) == pytest.approx(expected)
    assert bleu(BLEU("zh"), predictions, references) > expected + 1


def test_chrf_needs_no_words() -> None:
    expected = sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score
    scores = ChrF().compute(predictions=PREDICTIONS, references=[[r] for r in REFERENCES])
    assert scores == {"chrf": pytest.approx(expected)}
    plus = ChrF(word_order=2).compute(predictions=["a b c d"], references=[["a b c e"]])
    assert plus["chrf"] == pytest.approx(
        sacrebleu.corpus_chrf(["a b c d"], [["a b c e"]], word_order=2).score
    )


def test_signatures_are_those_of_sacrebleu_and_name_the_segmentation() -> None:
    references = [[r] for r in REFERENCES]
    version = sacrebleu.__version__
    japanese = BLEU("ja").signature(references)
    assert japanese.startswith(
        f"nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:{version}|seg:fugashi-"
    )
    assert BLEU("zh").signature(references) == (
        f"nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:{version}"
    )
    assert ChrF().signature([["a", "b"]]) == (
        f"nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}"
    )


@pytest.mark.parametrize("language", ["th", "lo", "km", "my", "bo"])
def test_languages_without_spaces_are_scored_by_characters(language: str) -> None:
    """As words, two sentences without a space between them would have nothing in common."""
    prediction, reference = "แมวนอนหลับอยู่บนโต๊ะ", "แมวนอนหลับอยู่บนพื้น"
    assert 50 < bleu(BLEU(language), [prediction], [[reference]]) < 100
    assert bleu(BLEU(language, "13a"), [prediction], [[reference]]) == 0
    assert "|tok:char|" in BLEU(language).signature([[reference]])
