"""The script of a language, which says whether spaces stand between its words."""

import pytest

from expkit.data.languages import WITHOUT_SPACES, primary_subtag, script_of
from expkit.data.words import segmenter, word_spans
from expkit.terminal.errors import UserError


@pytest.mark.parametrize(
    ("code", "script"),
    [
        ("th", "Thai"),
        ("tha_Thai", "Thai"),
        ("lo", "Laoo"),
        ("km-KH", "Khmr"),
        ("my", "Mymr"),
        ("bo", "Tibt"),
        ("dz", "Tibt"),
        ("yue", "Hant"),
        ("yue_CN", "Hans"),
        ("wuu", "Hans"),
        ("lzh", "Hans"),
        ("cmn", "Hans"),
        ("zh-Hant", "Hant"),
        ("zh_TW", "Hant"),
        ("nan", "Hans"),
        ("ja", "Jpan"),
        ("nod", "Lana"),
        ("jv-Java", "Java"),
    ],
)
def test_languages_without_spaces(code: str, script: str) -> None:
    assert script_of(code) == script
    assert script in WITHOUT_SPACES


@pytest.mark.parametrize(
    "code",
    ["en", "de_CH", "ko", "vi", "jv", "hi", "ar", "th-Latn", "ja_Latn", "zh-Latn", "nan_Latn"],
)
def test_languages_with_spaces(code: str) -> None:
    """The script that a code names counts more than the usual one."""
    assert script_of(code) not in WITHOUT_SPACES
    assert segmenter(code) is None


def test_codes_that_cldr_has_no_english_name_for_are_languages() -> None:
    assert primary_subtag("khb") == "khb"
    with pytest.raises(UserError, match=r"task.language='jp'.*did you mean 'ja'"):
        script_of("jp", "task.language")


@pytest.mark.parametrize("code", ["th", "lo", "km", "my", "bo", "yue", "wuu", "lzh", "th_TH"])
def test_words_that_cannot_be_found_are_no_sentences(code: str) -> None:
    with pytest.raises(UserError, match=r"no spaces between its words.*task.whole_word_mask=false"):
        word_spans("แมวนอนหลับอยู่บนโต๊ะ", code)


def test_words_of_a_romanised_text_stand_between_spaces() -> None:
    assert len(word_spans("watashi wa neko", "ja-Latn")) == 3
    assert len(word_spans("我们学习", "zh-Hant")) == len(word_spans("我们学习", "cmn")) == 2
