"""Language codes, which decide what a word is and whether spaces stand between words."""

from difflib import get_close_matches
from functools import cache

from babel import Locale
from babel.core import get_global

from expkit.terminal.errors import UserError

# ISO 15924 codes of the scripts without spaces between words. Lines in these scripts may break
# between any two characters, or only where a dictionary says so (classes ID and SA of
# https://www.unicode.org/reports/tr14); Tibetan, Balinese and Javanese belong to them too.
WITHOUT_SPACES = (
    *("Bali", "Bopo", "Hani", "Hans", "Hant", "Hira", "Hrkt", "Java", "Jpan", "Kana", "Khmr"),
    *("Kits", "Lana", "Laoo", "Mymr", "Nshu", "Tale", "Talu", "Tang", "Tavt", "Thai", "Tibt"),
    "Yiii",
)


@cache
def primary_subtag(code: str, key: str = "language") -> str:
    """The language in a code such as zh_CN, zh-Hans or JA, in its shortest form: jpn becomes ja.

    Args:
        key: the config key that has the code, for the message.

    Raises:
        UserError: there is no such language in CLDR (https://cldr.unicode.org), as Babel has it.
    """
    known = Locale("en").languages
    primary = code.replace("-", "_").split("_")[0].lower()
    if primary not in known:
        primary = get_global("language_aliases").get(primary, primary).split("_")[0]
    if primary not in known and primary not in get_global("likely_subtags"):
        meant = _meant(primary)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise UserError(
            f"{key}={code!r}: no such language code; allowed: those of ISO 639, such as en, zh "
            f"(Chinese) or ja (Japanese){hint}"
        )
    return primary


@cache
def script_of(code: str, key: str = "language") -> str:
    """The script in which a language is written, as a code of ISO 15924 such as Thai or Hant.

    A code such as zh_Latn names its script; other languages have a usual one, which may depend on the
    country. The result is empty if CLDR knows none.

    Raises:
        UserError: see `primary_subtag`.
    """
    primary, likely = primary_subtag(code, key), get_global("likely_subtags")
    rest = code.replace("-", "_").split("_")[1:]
    named = (subtag.title() for subtag in rest if len(subtag) == 4 and subtag.isalpha())
    keys = [*(f"{primary}_{subtag.upper()}" for subtag in rest), primary]
    usual = (likely[key].split("_")[1] for key in keys if key in likely)
    return next(named, next(usual, ""))


def _meant(given: str) -> str | None:
    """The code that was probably meant by the name of a language, a country (jp) or a misspelt code."""
    if likely := get_global("likely_subtags").get(f"und_{given.upper()}"):
        return str(likely).split("_")[0]
    codes = {name.lower(): code for code, name in Locale("en").languages.items()}
    if named := get_close_matches(given, codes, n=1, cutoff=0.8):
        return codes[named[0]]
    return next(iter(get_close_matches(given, codes.values(), n=1)), None)
