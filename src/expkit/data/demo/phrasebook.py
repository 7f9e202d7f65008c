"""Chinese-Japanese sentence pairs: names from CLDR, set into hand-written frames.

Babel ships CLDR's names of countries, languages, currencies, units and calendar terms in both
languages, so every pair is a correct translation, and there is nothing to download. The three
splits share their vocabulary but no sentence: whether a model trained from scratch has learnt to
translate, rather than memorised its input, shows on sentences that combine known names anew.
"""

import random
import re
import zlib
from collections.abc import Iterator
from datetime import date, time, timedelta
from functools import lru_cache
from itertools import product
from typing import Any

from babel import Locale
from babel.dates import (
    format_date,
    format_skeleton,
    format_timedelta,
    get_day_names,
    get_month_names,
    get_quarter_names,
)
from babel.numbers import format_currency
from babel.units import format_unit

SPLITS = ("train", "validation", "test")

# Chosen by hand, as CLDR also names territories that are obsolete, disputed, uninhabited or put in
# parentheses ("ミャンマー (ビルマ)"), which would make odd sentences.
TERRITORIES = (
    "AR AT AU BE BG BR CA CH CL CN CO CU CZ DE DK EE EG ES ET FI FR GB GR HR HU ID IE IL IN IR "
    "IS IT JM JP KE KH KR KZ LA LK MA MG MN MT MX MY NG NL NO NP NZ PE PH PL PT RO RU SE SG TH"
)
LANGUAGES = (
    "ar bg bn cs da de el en es et fa fi fr he hi hr hu id is it "
    "ja ka km ko lo mn ms nl no pl pt ro ru sv sw th tr uk vi zh"
)
CURRENCIES = (
    "ARS AUD BRL CAD CHF CNY CZK EGP EUR GBP IDR INR JPY KRW MXN MYR NOK NZD PHP PLN RUB SEK SGD "
    "THB USD"
)
QUANTITIES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 18, 20, 25, 30, 40, 50, 60, 80, 90)
MEASURES = {
    "length": (QUANTITIES, ("length-meter", "length-kilometer", "length-mile")),
    "weight": (QUANTITIES, ("mass-gram", "mass-kilogram", "mass-pound")),
    "volume": (QUANTITIES, ("volume-liter", "volume-milliliter")),
    "area": (QUANTITIES, ("area-square-meter", "area-hectare", "area-square-kilometer")),
    "speed": (QUANTITIES, ("speed-kilometer-per-hour", "speed-knot")),
    "wind": (range(2, 13), ("speed-meter-per-second",)),
    "temperature": (range(3, 36), ("temperature-celsius",)),
    "duration": (QUANTITIES, ("duration-hour", "duration-minute")),
    "span": (range(2, 13), ("duration-year", "duration-month")),
    "nights": (range(2, 13), ("duration-night",)),
}
AMOUNTS = (5, 10, 20, 30, 50, 60, 80, 100, 120, 150, 200, 300, 400, 500, 600, 800)
YEARS = range(2015, 2025)

# (Chinese, Japanese). A slot is named after a kind of `_terms`; "_2" makes it a second, different
# term of that kind. A new frame changes which sentences a seed draws, not the split they are in.
FRAMES = (
    # Travel
    ("我打算{month}去{territory}旅行。", "私は{month}に{territory}へ旅行するつもりです。"),
    ("她{later}要去{territory}出差。", "彼女は{later}に{territory}へ出張します。"),
    (
        "从{territory}飞到{territory_2}要{duration}。",
        "{territory}から{territory_2}まで飛行機で{duration}かかります。",
    ),
    ("我们在{territory}住了{nights}。", "私たちは{territory}で{nights}しました。"),
    ("去{territory}的飞机{clock}起飞。", "{territory}行きの飛行機は{clock}に出発します。"),
    ("他{weekday}从{territory}回来。", "彼は{weekday}に{territory}から戻ります。"),
    ("你{year}年去过{territory}吗？", "あなたは{year}年に{territory}へ行きましたか。"),
    (
        "我的朋友从{territory}搬到了{territory_2}。",
        "私の友人は{territory}から{territory_2}へ引っ越しました。",
    ),
    # Languages
    ("我从{weekday}开始学{language}。", "私は{weekday}から{language}を勉強し始めます。"),
    ("他会说{language}和{language_2}。", "彼は{language}と{language_2}を話せます。"),
    (
        "这本书从{language}翻译成了{language_2}。",
        "この本は{language}から{language_2}に翻訳されました。",
    ),
    ("{language}课{weekday}{clock}开始。", "{language}の授業は{weekday}の{clock}に始まります。"),
    ("我在{territory}学了{language}。", "私は{territory}で{language}を学びました。"),
    ("她学{language}已经{span}了。", "彼女は{language}を勉強してもう{span}になります。"),
    ("{language}比{language_2}更难。", "{language}は{language_2}より難しいです。"),
    ("{month}有{language}考试。", "{month}に{language}の試験があります。"),
    ("他{ago}开始学{language}。", "彼は{ago}に{language}の勉強を始めました。"),
    # Money
    ("这件衣服{price}。", "この服は{price}です。"),
    ("我想把{price}换成{currency}。", "{price}を{currency}に両替したいです。"),
    ("去{territory}的机票要{price}。", "{territory}行きの航空券は{price}かかります。"),
    ("她在{territory}花了{price}。", "彼女は{territory}で{price}使いました。"),
    ("{currency}对{currency_2}升值了。", "{currency}は{currency_2}に対して値上がりしました。"),
    ("在{territory}可以用{currency}付款吗？", "{territory}では{currency}で支払えますか。"),
    ("{year}年的房租是每月{price}。", "{year}年の家賃は毎月{price}でした。"),
    # Weather
    ("{territory}今天的气温是{temperature}。", "今日の{territory}の気温は{temperature}です。"),
    ("{weekday}{territory}会下雨。", "{weekday}は{territory}で雨が降るでしょう。"),
    ("{territory}的{month}冷吗？", "{territory}の{month}は寒いですか。"),
    ("明天{territory}的风速是{wind}。", "明日の{territory}の風速は{wind}です。"),
    # Calendar
    ("{date}是{weekday}吗？", "{date}は{weekday}ですか。"),
    ("会议在{full_date}举行了。", "会議は{full_date}に行われました。"),
    (
        "和{territory}的比赛{weekday}{clock}开始。",
        "{territory}との試合は{weekday}の{clock}に始まります。",
    ),
    (
        "{territory}的雨季从{month}到{month_2}。",
        "{territory}の雨季は{month}から{month_2}までです。",
    ),
    (
        "这是{territory}{year}年{quarter}的报告。",
        "これは{territory}の{year}年{quarter}の報告書です。",
    ),
    ("这份合同从{full_date}起生效。", "この契約は{full_date}から有効です。"),
    # Geography
    ("{territory}比{territory_2}大吗？", "{territory}は{territory_2}より大きいですか。"),
    ("{territory}和{territory_2}接壤吗？", "{territory}は{territory_2}と国境を接していますか。"),
    ("{territory}的人说{language}吗？", "{territory}の人は{language}を話しますか。"),
    # Weights and measures
    ("从{territory}寄来的箱子重{weight}。", "{territory}から届いた箱の重さは{weight}です。"),
    ("我买了{weight}{territory}产的咖啡。", "{territory}産のコーヒーを{weight}買いました。"),
    ("机场离酒店{length}，要{duration}。", "空港からホテルまで{length}で、{duration}かかります。"),
    ("风暴正以{speed}向{territory}移动。", "嵐は{speed}で{territory}に向かっています。"),
    ("他在{territory}买了{area}土地。", "彼は{territory}に{area}の土地を買いました。"),
    ("请加{volume}水，等{duration}。", "水を{volume}加えて、{duration}待ってください。"),
    # Time
    ("{territory}现在是{clock}。", "{territory}は今{clock}です。"),
    ("我{ago}在{territory}工作过。", "私は{ago}に{territory}で働いていました。"),
)

Pair = tuple[str, str]

# A split holds a tenth of the combinations or more, so this many draws in a row without a new
# sentence mean that there is hardly one left.
_MAX_MISSES = 20_000


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` records `{"translation": {"zh": ..., "ja": ...}}`, no two of them alike.

    The same arguments give the same records everywhere, and a smaller `size` gives the beginning
    of a larger one. No sentence of one split occurs in another, whatever the sizes and seeds.
    Raises `ValueError` for an unknown split, and when a split cannot supply `size` sentences.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; allowed: {', '.join(SPLITS)}")
    # Seeded with a string, which random.Random digests alike in every process, unlike hash().
    return _records(split, size, random.Random(f"phrasebook/{split}/{seed}"))


def _records(split: str, size: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    misses = 0
    while len(seen) < size:
        zh, ja = _draw(rng)
        if zh in seen or _split_of(zh) != split:
            misses += 1
            if misses == _MAX_MISSES:
                raise ValueError(f"the {split} split has only about {len(seen)} sentences")
            continue
        misses = 0
        seen.add(zh)
        yield {"translation": {"zh": zh, "ja": ja}}


def _split_of(zh: str) -> str:
    """The one split that a sentence may occur in: 80 % train, 10 % validation, 10 % test.

    A sentence spells out its frame and its names, so its checksum depends on their combination
    and on nothing else.
    """
    bucket = zlib.crc32(zh.encode()) % 10
    return {0: "validation", 1: "test"}.get(bucket, "train")


def _draw(rng: random.Random) -> Pair:
    """One random sentence, every frame being equally likely however many combinations it has."""
    zh, ja = rng.choice(FRAMES)
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
    """For every kind of slot, what may fill it, in both languages."""
    chinese, japanese = _terms("zh_Hans"), _terms("ja")
    return {kind: list(zip(chinese[kind], japanese[kind], strict=True)) for kind in chinese}


def _terms(locale: str) -> dict[str, list[str]]:
    """For every kind of slot, what may fill it in one language; the order is that of the codes."""
    cldr = Locale.parse(locale)
    # Five days apart, which is close enough to meet every month and every day of the month.
    days = [date(YEARS[0], 1, 1) + timedelta(days=5 * step) for step in range(73 * len(YEARS))]
    hours = [time(hour) for hour in range(24) if hour % 12]
    spans = [timedelta(days=unit * count) for unit in (1, 7, 30, 365) for count in range(2, 7)]
    weekdays = get_day_names("wide", locale=cldr)
    months = get_month_names("wide", locale=cldr)
    quarters = get_quarter_names("wide", locale=cldr)
    terms = {
        "territory": [cldr.territories[code] for code in TERRITORIES.split()],
        "language": [cldr.languages[code] for code in LANGUAGES.split()],
        "currency": [cldr.currencies[code] for code in CURRENCIES.split()],
        "price": [_price(*price, cldr) for price in product(AMOUNTS, CURRENCIES.split())],
        "weekday": [weekdays[day] for day in range(7)],
        "month": [months[month] for month in range(1, 13)],
        "quarter": [quarters[quarter] for quarter in range(1, 5)],
        "year": [str(year) for year in YEARS],
        "date": [format_date(day, "long", locale=cldr) for day in days],
        "full_date": [format_date(day, "full", locale=cldr) for day in days],
        "clock": [format_skeleton("h", hour, locale=cldr) for hour in hours],
        "later": [_relative(span, cldr) for span in spans],
        "ago": [_relative(-span, cldr) for span in spans],
        **{kind: [_measure(*m, cldr) for m in product(*of)] for kind, of in MEASURES.items()},
    }
    # CLDR puts spaces into Japanese terms ("タイ バーツ", "5 メートル"); running text has none.
    return {kind: [term.replace(" ", "") for term in of] for kind, of in terms.items()}


def _price(amount: int, currency: str, cldr: Locale) -> str:
    return format_currency(
        amount, currency, "#,##0", locale=cldr, currency_digits=False, format_type="name"
    )


def _relative(span: timedelta, cldr: Locale) -> str:
    return format_timedelta(span, granularity="day", threshold=2, add_direction=True, locale=cldr)


def _measure(quantity: int, unit: str, cldr: Locale) -> str:
    """The quantity with the unit written out.

    Where CLDR's long form only refers to the short one, which is then written out as well, Babel
    falls back to the bare code of the unit.
    """
    long = format_unit(quantity, unit, "long", locale=cldr)
    return format_unit(quantity, unit, "short", locale=cldr) if unit in long else long
