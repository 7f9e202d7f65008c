import json
import os
import re
import subprocess
import sys
from itertools import combinations, islice

import pytest
from babel import Locale

from expkit.data.demo import phrasebook
from expkit.data.demo.drawing import SPLITS
from expkit.data.demo.phrasebook import CURRENCIES, FRAMES, LANGUAGES, TERRITORIES, examples

ZH, JA = Locale.parse("zh_Hans"), Locale.parse("ja")

# Read from CLDR anew, so that a mix-up of codes or of languages in the module shows here.
NAMES = {
    getattr(ZH, table)[code]: getattr(JA, table)[code].replace(" ", "")
    for table, codes in (
        ("territories", TERRITORIES),
        ("languages", LANGUAGES),
        ("currencies", CURRENCIES),
    )
    for code in codes.split()
}
# Longest first: "印度尼西亚" must not be read as "印度".
NAME = re.compile("|".join(sorted(NAMES, key=len, reverse=True)))

OTHER_TERMS = {
    "星期二": "火曜日",
    "星期日": "日曜日",
    "十二月": "12月",
    "第三季度": "第3四半期",
    "下午": "午後",
    "3个月后": "3か月後",
    "摄氏度": "摂氏",
    "平方公里": "平方キロメートル",
    "每小时": "時速",
    "千克": "キログラム",
    "毫升": "ミリリットル",
    "分钟": "分",
}


def pairs(split: str, size: int, seed: int = 7) -> list[tuple[str, str]]:
    records = [record["translation"] for record in examples(split, size, seed)]
    return [(record["zh"], record["ja"]) for record in records]


def frame_pattern(frame: str) -> re.Pattern[str]:
    return re.compile(".+".join(map(re.escape, re.split(r"{\w+}", frame))))


@pytest.fixture(scope="module")
def train() -> list[tuple[str, str]]:
    return pairs("train", 3000)


def test_records_have_the_translation_layout_and_the_asked_number():
    records = list(examples("validation", 25, 0))
    assert len(records) == 25
    for record in records:
        assert list(record) == ["translation"]
        assert list(record["translation"]) == ["zh", "ja"]
        assert all(isinstance(text, str) for text in record["translation"].values())


def test_another_process_draws_the_same_sentences():
    code = (
        "import json; from expkit.data.demo.phrasebook import examples;"
        "print(json.dumps(list(examples('test', 40, 3))))"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "1234",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    assert json.loads(done.stdout) == list(examples("test", 40, 3))


@pytest.mark.parametrize("split", SPLITS)
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(split: str):
    assert pairs(split, 60) == pairs(split, 240)[:60]


def test_seed_and_split_change_the_sentences():
    assert pairs("train", 50, seed=1) != pairs("train", 50, seed=2)
    assert pairs("validation", 50) != pairs("test", 50)


@pytest.mark.parametrize("side", [0, 1], ids=["zh", "ja"])
def test_no_sentence_occurs_in_two_splits_whatever_the_size_and_seed(side: int):
    sizes = {"train": 4000, "validation": 1500, "test": 1500}
    sentences = {
        split: {pair[side] for seed in (0, 1) for pair in pairs(split, size, seed)}
        for split, size in sizes.items()
    }
    for one, other in combinations(SPLITS, 2):
        assert not sentences[one] & sentences[other], (one, other)


@pytest.mark.parametrize("split", SPLITS)
def test_no_sentence_occurs_twice_in_a_split(split: str):
    drawn = pairs(split, 2000)
    assert len({zh for zh, _ in drawn}) == len({ja for _, ja in drawn}) == len(drawn) == 2000


@pytest.mark.parametrize("split", ["validation", "test"])
def test_train_shows_every_name_number_and_character_of_the_other_splits(
    split: str, train: list[tuple[str, str]]
):
    def vocabulary(drawn: list[tuple[str, str]]) -> set[str]:
        texts = [text for pair in drawn for text in pair]
        names = {name for zh, _ in drawn for name in NAME.findall(zh)}
        numbers = {number for text in texts for number in re.findall(r"\d+", text)}
        return names | numbers | set("".join(texts))

    assert NAMES.keys() <= vocabulary(train)
    assert vocabulary(pairs(split, 1000)) <= vocabulary(train)


def test_japanese_names_are_those_of_cldr(train: list[tuple[str, str]]):
    for zh, ja in train:
        for name in NAME.findall(zh):
            # Of an amount CLDR says "60円", but calls the currency "日本円".
            assert NAMES[name] in ja or (name == "日元" and re.search(r"\d円", ja)), (zh, ja)


@pytest.mark.parametrize(("term", "translation"), OTHER_TERMS.items())
def test_calendar_terms_and_units_are_translated(
    term: str, translation: str, train: list[tuple[str, str]]
):
    found = [ja for zh, ja in train if term in zh]
    assert found
    assert all(translation in ja for ja in found)


def test_both_sides_of_a_pair_come_from_one_frame_and_every_frame_is_used(
    train: list[tuple[str, str]],
):
    frames = [(frame_pattern(zh), frame_pattern(ja)) for zh, ja in FRAMES]
    used = set()
    for zh, ja in train:
        matching = {
            number
            for number, (zh_frame, ja_frame) in enumerate(frames)
            if zh_frame.fullmatch(zh) and ja_frame.fullmatch(ja)
        }
        assert matching, (zh, ja)
        used |= matching
    assert used == set(range(len(FRAMES)))
    assert len(FRAMES) >= 20


def test_japanese_side_is_japanese(train: list[tuple[str, str]]):
    for zh, ja in train:
        assert re.search("[ぁ-ん]", ja), ja
        assert not re.search("[ぁ-んァ-ン]", zh), zh
        assert not re.search(r"[\s()（）{}]", zh + ja), (zh, ja)
        # Shift JIS has no simplified characters, so a left-over of the Chinese frame fails here.
        ja.encode("shift_jis")


@pytest.mark.parametrize("frame", [r"他会说(.+)和(.+)。", r"我想把\d+(.+)换成(.+)。"])
def test_two_terms_of_a_kind_differ(frame: str, train: list[tuple[str, str]]):
    matches = [re.fullmatch(frame, zh) for zh, _ in train]
    named = [match.groups() for match in matches if match]
    assert len(named) > 20
    assert all(first != second for first, second in named)


def test_unknown_split_is_refused_before_anything_is_drawn():
    with pytest.raises(ValueError, match=r"'dev'.*train, validation, test"):
        examples("dev", 1, 0)


def test_asking_for_more_than_there_is_ends_with_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(phrasebook, "FRAMES", (("今天是{weekday}。", "今日は{weekday}です。"),))
    with pytest.raises(ValueError, match=r"no more than \d different records"):
        list(islice(examples("train", 8, 0), 100))
