"""One file becomes several splits: shares, groups, equal inputs, folds."""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit.data.division import Division, Undivided, divided
from expkit.data.files import read
from expkit.data.splits import Splits
from expkit.terminal.errors import DataError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data in ../shared/data")


def made(
    folder: Path, records: Sequence[dict[str, Any]], limits: Any = (None, None), **how: Any
) -> Splits:
    """The records divided, with `text` as the input and `label` as the label."""
    file = folder / "all.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    split = read(file)
    labels = [record.get("label") for record in records]
    data = Undivided(split, Division(**how), limits=limits)
    return divided(data, [r["text"] for r in records], labels if any(labels) else None)


def examples(count: int, labels: str = "ab") -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": labels[i % len(labels)]} for i in range(count)]


def test_each_record_is_in_one_split_in_the_order_of_the_file(tmp_path: Path) -> None:
    splits = made(tmp_path, examples(100), validation_share=0.2, test_share=0.1)
    assert {n: len(s) for n, s in splits.named().items()} == {
        "train": 70,
        "validation": 20,
        "test": 10,
    }
    rows = [*splits.division["train"], *splits.division["validation"], *splits.division["test"]]
    assert sorted(rows) == list(range(100))
    for name, split in splits.named().items():
        assert split.column("text") == [f"text {i}" for i in splits.division[name]]
        assert list(splits.division[name]) == sorted(splits.division[name])
    first = splits.division["validation"][0]
    assert splits.validation.where(0).endswith(f"all.jsonl, line {first + 1}")


def test_splits_of_another_seed_or_share_have_other_digests(tmp_path: Path) -> None:
    ways = ({"seed": 0}, {"seed": 1}, {"seed": 0, "validation_share": 0.3})
    found = [made(tmp_path, examples(60), **{"validation_share": 0.2, **way}) for way in ways]
    assert len({splits.train.digest for splits in found}) == 3
    again = made(tmp_path, examples(60), validation_share=0.2, seed=0)
    assert again.division == found[0].division
    assert again.train.digest == found[0].train.digest


labelled = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from("aaab"), st.integers(0, 8)),
    min_size=12,
    max_size=80,
)


@given(labelled, st.sampled_from([0.1, 0.25, 0.5]), st.integers(0, 3), st.booleans())
def test_neither_an_input_nor_a_group_is_in_two_splits(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[int, str, int]],
    share: float,
    seed: int,
    grouped: bool,
) -> None:
    records = [{"text": str(text), "label": label, "doc": group} for text, label, group in drawn]
    try:
        splits = made(
            tmp_path_factory.mktemp("data"),
            records,
            validation_share=share,
            seed=seed,
            group_column="doc" if grouped else None,
        )
    except DataError:
        return  # one unit holds nearly everything
    for column in ("text", "doc") if grouped else ("text",):
        sides = [set(split.column(column)) for split in splits.named().values()]
        assert not sides[0] & sides[1]


@given(st.lists(st.sampled_from("aaaabbc"), min_size=20, max_size=200), st.sampled_from([0.1, 0.3]))
def test_a_label_has_its_share_within_one_example(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], share: float
) -> None:
    records = [{"text": f"{i}", "label": label} for i, label in enumerate(labels)]
    splits = made(tmp_path_factory.mktemp("data"), records, validation_share=share)
    counts = Counter(splits.validation.column("label"))
    for label, total in Counter(labels).items():
        assert abs(counts[label] - share * total) < 1


SEEDS = range(60)


def held_out(folder: Path, records: list[dict[str, Any]], **how: Any) -> list[int]:
    """How often each record is in the validation split, over all seeds."""
    counts = [0] * len(records)
    for seed in SEEDS:
        for i in made(folder, records, seed=seed, **how).division["validation"]:
            counts[i] += 1
    return counts


def test_large_groups_and_repeated_inputs_are_held_out_as_often_as_others(tmp_path: Path) -> None:
    records = [
        {"text": f"{size} {i}", "doc": size, "label": "ab"[i % 2]}
        for size in range(1, 31)
        for i in range(size)
    ]
    counts = held_out(tmp_path, records, validation_share=0.2, group_column="doc")
    sizes = [record["doc"] for record in records]
    for first, end in ((1, 11), (11, 21), (21, 31)):
        of_class = [n for n, size in zip(counts, sizes, strict=True) if first <= size < end]
        assert 0.1 < sum(of_class) / len(of_class) / len(SEEDS) < 0.3
    twins = [{"text": str(i // 2 if i < 40 else i), "label": "ab"[i % 2]} for i in range(100)]
    counts = held_out(tmp_path, twins, validation_share=0.2)
    assert 0.15 < sum(counts[:40]) / 40 / len(SEEDS) < 0.25
    folds = held_out(tmp_path, twins, folds=3, fold=1, test_share=0.2)
    assert 0.2 < sum(folds[:40]) / 40 / len(SEEDS) < 0.33  # a third of what is not for the test


def test_many_rare_labels_do_not_change_the_shares(tmp_path: Path) -> None:
    records = [{"text": str(i), "label": f"label {i // 3}"} for i in range(60)]
    splits = made(tmp_path, records, validation_share=0.2, test_share=0.1)
    sizes = [len(split) for split in splits.named().values()]
    assert sizes == pytest.approx([42, 12, 6], abs=1)
    assert len(set(splits.train.column("label"))) == 20
    pairs = [{"text": str(i), "label": f"label {i // 2}"} for i in range(100)]
    splits = made(tmp_path, pairs, validation_share=0.3)
    assert [len(split) for split in splits.named().values()] == [70, 30]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 9)), min_size=10, max_size=60))
def test_the_training_examples_have_every_label(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int]]
) -> None:
    records = [{"text": str(i), "label": label, "doc": doc} for i, (label, doc) in enumerate(drawn)]
    folder = tmp_path_factory.mktemp("data")
    ways: tuple[dict[str, Any], ...] = (
        {"validation_share": 0.4, "test_share": 0.3},
        *({"folds": 3, "fold": fold} for fold in (1, 2, 3)),
    )
    for how in ways:
        with contextlib.suppress(DataError):
            splits = made(folder, records, group_column="doc", **how)
            assert set(splits.train.column("label")) == {label for label, _ in drawn}


def test_folds_hold_each_record_once_and_differ_by_one(tmp_path: Path) -> None:
    records = examples(53, "aab")
    folds = [made(tmp_path, records, folds=5, fold=k, test_share=0.1) for k in range(1, 6)]
    test = folds[0].division["test"]
    assert all(splits.division["test"] == test for splits in folds)
    assert len(test) in (5, 6)
    held_out = [i for splits in folds for i in splits.division["validation"]]
    assert sorted([*held_out, *test]) == list(range(53))
    sizes = [len(splits.validation) for splits in folds]
    assert max(sizes) - min(sizes) <= 1
    for splits in folds:
        assert not set(splits.division["train"]) & set(splits.division["validation"])
        assert len(splits.train) == 53 - len(test) - len(splits.validation)
        assert set(splits.validation.column("label")) == {"a", "b"}


def test_groups_that_share_an_input_stay_together_and_a_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"text": f"{doc} {i}", "doc": doc} for doc in range(10) for i in range(3)]
    records += [{"text": "Thank you.", "doc": doc} for doc in range(4)]
    splits = made(tmp_path, records, validation_share=0.3, group_column="doc")
    sides = [set(split.column("doc")) for split in splits.named().values()]
    assert not sides[0] & sides[1]
    assert any({0, 1, 2, 3} <= side for side in sides)
    assert "makes 7 groups of 10; 'Thank you.' stands in 4 of them" in capsys.readouterr().out


def test_a_column_names_the_split(tmp_path: Path) -> None:
    sides = ["train", "dev", "train", "test", "val"]
    records = [{"text": str(i), "side": side} for i, side in enumerate(sides)]
    splits = made(tmp_path, records, split_column="side")
    assert dict(splits.division) == {"train": [0, 2], "validation": [1, 4], "test": [3]}


def test_limits_count_after_the_division(tmp_path: Path) -> None:
    splits = made(tmp_path, examples(40), limits=(5, 3), validation_share=0.5)
    whole = made(tmp_path, examples(40), validation_share=0.5)
    assert splits.division["train"] == whole.division["train"][:5]
    assert splits.division["validation"] == whole.division["validation"][:3]


@pytest.mark.parametrize(
    ("records", "how", "message"),
    [
        (examples(3), {"validation_share": 0.01}, "no example is left for the validation split"),
        ([{"text": "same"}] * 9, {"validation_share": 0.3}, "belong to one input, so nothing"),
        (
            [{"text": str(i), "doc": "one"} for i in range(9)],
            {"folds": 3, "fold": 1, "group_column": "doc"},
            "belong to one group, or groups that share inputs",
        ),
        (
            [*examples(9, "a"), {"text": "x", "label": "rare"}],
            {"folds": 3, "fold": 1},
            "the label 'rare' has examples in 1 of data.folds=3 folds only, and 3 are needed",
        ),
        (examples(9), {"validation_share": 0.3, "group_column": "dok"}, "has no column 'dok'"),
        (
            [*examples(3), {"text": "y", "label": None}],
            {"validation_share": 0.3, "group_column": "label"},
            "line 4: data.group_column: label=None is empty",
        ),
        (
            [{"text": "a", "side": "train"}, {"text": "b", "side": "Train"}],
            {"split_column": "side"},
            "line 2: data.split_column=side: 'Train' names no split",
        ),
        ([{"text": "a", "side": ["dev"]}], {"split_column": "side"}, "['dev'] names no split"),
        ([{"text": "a", "side": "train"}], {"split_column": "side"}, "left for the validation"),
    ],
)
def test_what_cannot_be_divided(
    tmp_path: Path, records: list[dict[str, Any]], how: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as raised:
        made(tmp_path, records, **how)
    assert message in str(raised.value)


@needs_data
def test_the_real_files(tmp_path: Path) -> None:
    mrpc = read(DATA / "mrpc" / "train.jsonl")
    inputs = list(zip(mrpc.column("sentence1"), mrpc.column("sentence2"), strict=True))
    labels = mrpc.column("label")
    splits = divided(Undivided(mrpc, Division(validation_share=0.1)), inputs, labels)
    counts = Counter(splits.validation.column("label"))
    assert all(abs(counts[label] - 0.1 * n) < 1 for label, n in Counter(labels).items())
    amazon = read(DATA / "sentiment" / "amazon.jsonl")
    how = Division(validation_share=0.2, test_share=0.1, group_column="group")
    of_reviews = divided(Undivided(amazon, how), amazon.column("text"), None).named().values()
    groups = [set(split.column("group")) for split in of_reviews]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 300
    assert [round(len(split) / len(amazon), 2) for split in of_reviews] == [0.7, 0.2, 0.1]
