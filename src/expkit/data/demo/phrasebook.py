"""Chinese-Japanese sentence pairs: names from CLDR, set into hand-written frames.

Babel ships CLDR's names of countries, languages, currencies, units and calendar terms in both
languages, so every pair is a correct translation, and there is nothing to download. The three
splits share their vocabulary but no sentence: whether a model trained from scratch has learnt to
translate, rather than memorised its input, shows on sentences that combine known names anew.
"""

import random
import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from functools import lru_cache
from itertools import product
from typing import Any

from babel import Locale, dates
from babel.numbers import format_currency
from babel.units import format_unit

from expkit.data.demo.drawing import distinct, owner, seeded, vocabulary

_WORDS = vocabulary("phrasebook")
TERRITORIES: str = _WORDS["territories"]  # CLDR's codes
LANGUAGES: str = _WORDS["languages"]
CURRENCIES: str = _WORDS["currencies"]
YEARS = range(2015, 2025)

Pair = tuple[str, str]

FRAMES: tuple[Pair, ...] = tuple((zh, ja) for zh, ja in _WORDS["frames"])

# A split has at least a tenth of all combinations. So if that many draws give no new sentence, there
# is hardly one left.
_ROUND = 20_000

# Eight of ten sentences go to train; another order would move sentences to another split.
_OWNERS = ("validation", "test") + ("train",) * 8


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` records `{"translation": {"zh": ..., "ja": ...}}`, no two of them alike.

    No sentence of one split occurs in another, whatever the sizes and seeds.
    """
    rng = seeded("phrasebook", split, size, seed)

    def draw(frame: Pair) -> tuple[str, dict[str, Any]] | None:
        zh, ja = _fill(frame, rng)
        return (zh, {"translation": {"zh": zh, "ja": ja}}) if owner(zh, _OWNERS) == split else None

    # Every frame is equally likely, however many combinations it has.
    return distinct(size, lambda: (rng.choice(FRAMES) for _ in range(_ROUND)), draw)


def _fill(frame: Pair, rng: random.Random) -> Pair:
    """One random sentence in both languages."""
    zh, ja = frame
    chosen: dict[str, Pair] = {}
    for slot in re.findall(r"{(\w+)}", zh):
        entries = _lexicon()[slot.removesuffix("_2")]
        entry = rng.choice(entries)
        # Nobody speaks "Thai and Thai", or changes "20 euros" into euros.
        while any(taken.endswith(entry[0]) for taken, _ in chosen.values()):
            entry = rng.choice(entries)
        chosen[slot] = entry
    return (
        zh.format_map({slot: pair[0] for slot, pair in chosen.items()}),
        ja.format_map({slot: pair[1] for slot, pair in chosen.items()}),
    )


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, list[Pair]]:
    """All terms that may fill each kind of slot, in both languages."""
    chinese, japanese = _terms("zh_Hans"), _terms("ja")
    return {kind: list(zip(chinese[kind], japanese[kind], strict=True)) for kind in chinese}


def _terms(locale: str) -> dict[str, list[str]]:
    """All terms that may fill each kind of slot, in one language and in the order of CLDR's codes."""
    cldr = Locale.parse(locale)
    # Five days apart, which is close enough to meet every month and every day of the month.
    days = [date(YEARS[0], 1, 1) + timedelta(days=5 * step) for step in range(73 * len(YEARS))]
    hours = [time(hour) for hour in range(24) if hour % 12]
    spans = [timedelta(days=unit * count) for unit in (1, 7, 30, 365) for count in range(2, 7)]
    weekdays = dates.get_day_names("wide", locale=cldr)
    months = dates.get_month_names("wide", locale=cldr)
    quarters = dates.get_quarter_names("wide", locale=cldr)
    terms = {
        "territory": [cldr.territories[code] for code in TERRITORIES.split()],
        "language": [cldr.languages[code] for code in LANGUAGES.split()],
        "currency": [cldr.currencies[code] for code in CURRENCIES.split()],
        "price": [
            format_currency(*price, "#,##0", cldr, currency_digits=False, format_type="name")
            for price in product(_WORDS["amounts"], CURRENCIES.split())
        ],
        "weekday": [weekdays[day] for day in range(7)],
        "month": [months[month] for month in range(1, 13)],
        "quarter": [quarters[quarter] for quarter in range(1, 5)],
        "year": [str(year) for year in YEARS],
        "date": [dates.format_date(day, "long", locale=cldr) for day in days],
        "full_date": [dates.format_date(day, "full", locale=cldr) for day in days],
        "clock": [dates.format_skeleton("h", hour, locale=cldr) for hour in hours],
        "later": [_relative(span, cldr) for span in spans],
        "ago": [_relative(-span, cldr) for span in spans],
        **{
            kind: [_measure(count, unit, cldr) for count, unit in product(counts, units)]
            for kind, (counts, units) in _WORDS["measures"].items()
        },
    }
    # CLDR puts spaces into Japanese terms ("タイ バーツ", "5 メートル"); running text has none.
    return {kind: [term.replace(" ", "") for term in of] for kind, of in terms.items()}


def _relative(span: timedelta, cldr: Locale) -> str:
    return dates.format_timedelta(span, "day", threshold=2, add_direction=True, locale=cldr)


def _measure(quantity: int, unit: str, cldr: Locale) -> str:
    """The quantity with its unit as a word.

    Where CLDR has no long form of its own, Babel returns the code of the unit. The short form is a
    word in these cases.
    """
    long = format_unit(quantity, unit, "long", locale=cldr)
    return format_unit(quantity, unit, "short", locale=cldr) if unit in long else long
