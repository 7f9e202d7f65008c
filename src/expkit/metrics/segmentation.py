"""Find the words of a text for BLEU, which counts what stands between spaces.

To BLEU, a sentence of Japanese or Chinese is one word. sacreBLEU segments a text itself if that needs no
download; this module segments Japanese, and Chinese by words.
"""

from collections.abc import Callable
from importlib.metadata import version

from expkit.data.languages import WITHOUT_SPACES, primary_subtag, script_of
from expkit.data.words import chinese_words, japanese_words
from expkit.terminal.errors import UserError, nearest

# Each segmentation with the tokenizer that sacreBLEU applies to the segmented text.
SEGMENTATIONS = {
    "mecab": "none",  # Japanese words, by fugashi with unidic-lite
    "jieba": "none",  # Chinese words
    "zh": "zh",  # Chinese characters, and the words of other scripts
    "char": "char",  # all characters
    "13a": "13a",  # spaces and punctuation, as in the WMT shared tasks
    "intl": "intl",  # spaces and punctuation of all scripts
    "none": "none",  # the text has spaces between words already
}
CHINESE_SCRIPTS = ("Hani", "Hans", "Hant")
PACKAGES = {"mecab": ("fugashi", "unidic-lite"), "jieba": ("jieba",)}


def segmentation_of(language: str, wanted: str | None = None) -> str:
    """Return the name of the segmentation for a language code such as ja, zh or pt_BR.

    The script decides: sacreBLEU's `zh` for Chinese characters (Cantonese, Wu and Classical Chinese too),
    `mecab` for Japanese, and single characters for other scripts without spaces between words.

    Raises:
        UserError: `wanted` is none of `SEGMENTATIONS`, or the language is unknown and would be
            taken for one with spaces between its words.
    """
    if wanted is not None:
        if wanted not in SEGMENTATIONS:
            raise UserError(
                f"task.metrics: BLEU: segmentation={wanted!r}: {nearest(wanted, SEGMENTATIONS)}"
            )
        return wanted
    try:
        script = script_of(language, "task.metrics: BLEU: language")
    except UserError as error:
        ways = ", ".join(SEGMENTATIONS)
        raise UserError(
            f"{error}; or name how to find words: segmentation is one of {ways}"
        ) from None
    if script in CHINESE_SCRIPTS:
        return "zh"
    if script == "Jpan" and primary_subtag(language) == "ja":
        return "mecab"
    return "char" if script in WITHOUT_SPACES else "13a"


def segmenter(segmentation: str) -> Callable[[str], str]:
    """Return a function that puts spaces between words, unless sacreBLEU does that itself."""
    return {"mecab": _mecab, "jieba": _jieba}.get(segmentation, lambda text: text)


def provenance(segmentation: str) -> str | None:
    """Return names and versions of the packages that segment; None if sacreBLEU does it."""
    packages = PACKAGES.get(segmentation)
    return "+".join(f"{name}-{version(name)}" for name in packages) if packages else None


def _mecab(text: str) -> str:
    line = " ".join(text.replace("\0", " ").split())  # MeCab stops at NUL
    return " ".join(japanese_words(line))


def _jieba(text: str) -> str:
    return " ".join(chinese_words(text))
