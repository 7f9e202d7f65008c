"""What BLEU counts as a word, for each language."""

import pytest

from expkit.metrics.segmentation import provenance, segmentation_of, segmenter
from expkit.terminal.errors import UserError

JAPANESE = "私は水曜日からウクライナ語を勉強し始めます。"
CHINESE = "我从星期三开始学乌克兰语。"


def test_japanese_words_are_those_of_unidic() -> None:
    assert segmenter("mecab")(JAPANESE).split(" ") == [
        *("私", "は", "水曜", "日", "から", "ウクライナ", "語", "を"),
        *("勉強", "し", "始め", "ます", "。"),
    ]


def test_a_nul_does_not_end_a_japanese_text() -> None:
    assert segmenter("mecab")("猫\0である。\0") == "猫 で ある 。"


def test_chinese_words_are_those_of_jieba() -> None:
    assert segmenter("jieba")(CHINESE).split(" ") == [
        *("我", "从", "星期三", "开始", "学", "乌克兰语", "。")
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("mecab", "タイ  バーツ\n語", "タイ バーツ 語"), ("jieba", "法语  考试\n难", "法语 考试 难")],
)
def test_spaces_and_line_breaks_separate_words_and_are_none(
    name: str, text: str, words: str
) -> None:
    assert segmenter(name)(text) == words
    assert segmenter(name)(" ") == ""


@pytest.mark.parametrize(
    ("language", "wanted", "expected"),
    [
        ("ja", None, "mecab"),
        ("ja_JP", None, "mecab"),
        ("zh", None, "zh"),
        ("zh-TW", None, "zh"),
        ("jpn", None, "mecab"),
        ("zh", "jieba", "jieba"),
        ("de", None, "13a"),
        ("cmn", None, "zh"),
        ("yue", None, "zh"),
        ("wuu", None, "zh"),
        ("lzh", None, "zh"),
        ("th", None, "char"),
        ("lo", None, "char"),
        ("km_KH", None, "char"),
        ("my", None, "char"),
        ("bo", None, "char"),
        ("th", "none", "none"),
        ("th-Latn", None, "13a"),
        ("ja_Latn", None, "13a"),
        ("ko", None, "13a"),
        ("jp", "mecab", "mecab"),
    ],
)
def test_the_language_decides_unless_a_segmentation_is_named(
    language: str, wanted: str | None, expected: str
) -> None:
    assert segmentation_of(language, wanted) == expected


def test_a_language_that_does_not_exist_is_not_taken_for_one_with_spaces() -> None:
    with pytest.raises(UserError, match=r"BLEU: language='jp'.*did you mean 'ja'.*mecab"):
        segmentation_of("jp")


def test_an_unknown_segmentation_is_refused() -> None:
    with pytest.raises(UserError, match=r"segmentation='mecap'.*did you mean 'mecab'"):
        segmentation_of("ja", "mecap")


def test_what_segments_beside_sacrebleu_is_named_with_its_version() -> None:
    assert str(provenance("mecab")).startswith("fugashi-")
    assert "+unidic-lite-" in str(provenance("mecab"))
    assert str(provenance("jieba")).startswith("jieba-")
    assert provenance("zh") is None
