"""Several labels of a text: how they are read, learned, scored and shown."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from torch import nn
from transformers import BertConfig, PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from conftest import TINY, composed, encoded_by
from expkit.config.checks import check
from expkit.config.components import make
from expkit.data.division import Division, Undivided, divided
from expkit.data.files import load, read
from expkit.data.inspection import inspected
from expkit.data.splits import Split, Splits
from expkit.experiment import prepare
from expkit.metrics.local import CONFIDENCES, PROBABILITIES
from expkit.models.scratch import TinyBert
from expkit.tasks.multilabel_classification import MultilabelClassification
from expkit.terminal.errors import ConfigError, DataError

SEPARATED = {"label_separator": "|"}
SWITCHES = {"label_column": None, "label_columns": ["LOC", "PER"]}


def task(**settings: Any) -> MultilabelClassification:
    overrides = [f"task.{key}={json.dumps(value)}" for key, value in settings.items()]
    return make(composed("task=multilabel_classification", *overrides), "task")


def records(*labels: Any) -> list[dict[str, Any]]:
    """A record for each of the labels, which are those of one column or of several."""
    given = (x if isinstance(x, dict) else {"labels": x} for x in labels)
    return [{"text": f"a b {i}", **columns} for i, columns in enumerate(given)]


def splits(folder: Path, train: list[Any], validation: list[Any] | None = None) -> Splits:
    for name, rows in (("train", train), ("validation", validation or train)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return load(str(folder / "train.jsonl"), str(folder / "validation.jsonl"), None, None, None)


def names_of(task: MultilabelClassification, split: Split) -> list[list[str]]:
    return [names for names, _ in task.gold(split)]


def columns(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"LOC": loc, "PER": per} for loc, per in pairs]


SETS = [["PER"], [], ["LOC", "PER"]]


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (SETS, {}),
        ([["PER"], [], ["PER", "LOC"]], {}),
        (["PER", "", "LOC|PER"], SEPARATED),
        (columns((0, 1), (0, 0), (1, 1)), SWITCHES),
        (columns((False, 1.0), (False, 0.0), (True, 1.0)), SWITCHES),
        (columns(("0", "True"), ("0.0", "false"), ("1", "1")), SWITCHES),
        ([[1], [], [0, 1]], {"labels": ["LOC", "PER"]}),
    ],
)
def test_labels_stand_in_a_list_a_text_or_columns(
    labels: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    made = task(**settings)
    data = splits(tmp_path, records(*labels))
    made.setup(data)
    assert names_of(made, data.train) == SETS
    assert list(made.labels(data.train)) == [[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    config = made.head().config
    assert list(config["id2label"].values()) == ["LOC", "PER"]
    assert config["problem_type"] == "multi_label_classification"
    tokenizer = TinyBert(100, 8, 1, 1, 0.0).tokenizer(made.texts(data.train))
    encoded = encoded_by(made.encode(data.train, tokenizer, BertConfig()))
    batch = made.collator(tokenizer, None)([encoded[i] for i in range(3)], [0, 1, 2])  # type: ignore[arg-type]
    assert batch["labels"].tolist() == [[0, 1], [0, 0], [1, 1]]
    assert made.count_targets(batch) == 6


def test_numbers_are_labels_too(tmp_path: Path) -> None:
    made = task()
    data = splits(tmp_path, records([10, 2], [2], []))
    made.setup(data)
    assert list(made.head().config["id2label"].values()) == ["2", "10"]
    assert names_of(made, data.train) == [["2", "10"], ["2"], []]


def test_a_table_names_the_ids_of_its_lists(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["b", "a"]))})
    rows = [{"text": f"t {i}", "labels": ids} for i, ids in enumerate(([0], [1, 0], []))]
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "train.parquet"))
    data = load(str(tmp_path / "train.parquet"), str(tmp_path / "train.parquet"), None, None, None)
    made = task()
    made.setup(data)
    assert names_of(made, data.train) == [["b"], ["b", "a"], []]
    assert list(made.head().config["id2label"].values()) == ["b", "a"]


def test_cells_of_csv(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,labels,PER,LOC\na,PER|LOC,1,1\nb,,0,0\nc,PER,1,0\n")
    file = str(tmp_path / "train.csv")
    for settings in (SEPARATED, SWITCHES):
        made = task(**settings)
        data = load(file, file, None, None, None)
        made.setup(data)
        assert names_of(made, data.train) == [["LOC", "PER"], [], ["PER"]]


# name: (labels of train, labels of validation or None, settings, what the message says)
BAD: dict[str, tuple[list[Any], list[Any] | None, dict[str, Any], str]] = {
    "a text": (
        ["PER", "LOC"],
        None,
        {},
        "train.jsonl, line 1: labels='PER' is no list of labels, which may be empty; a text needs "
        "task.label_separator, and one label for each example task=text_classification",
    ),
    "no list": ([["a"], None, ["b"]], None, {}, "line 2: labels=None is no list of labels"),
    "a number": ([5, 6], None, {}, "line 1: labels=5 is no list"),
    "none": ([["a"], ["b", None]], None, {}, "line 2: labels holds None is no label; expected"),
    "a list in a list": ([[["a"]], [["b"]]], None, {}, "line 1: labels holds ['a'] is no label"),
    "a blank": ([["a"], ["b", " "]], None, {}, "line 2: labels holds ' ' is no label"),
    "nothing between": (["a", "b||a"], None, SEPARATED, "line 2: labels holds '' is no label"),
    "unknown": (
        [["PER"], ["LOC"]],
        [["PER"], ["PER", "LCO"]],
        {},
        "validation.jsonl, line 2: labels holds 'LCO' is not among the labels; allowed: LOC, PER",
    ),
    "almost the same": ([["PER"], ["Per "]], None, {}, "line 2: labels: 'Per ' is almost 'PER'"),
    "twice": ([["a"], ["b", "a", "b"]], None, {}, "line 2: labels holds 'b' twice"),
    "one label": ([["a"], []], None, {}, "column 'labels' holds one label only, 'a'; task=text_cl"),
    "no label": ([[], []], None, {}, "column 'labels' holds no label; task=text_classification"),
    "never true": (
        [["a"], ["b"]],
        [["a"], ["c"]],
        {"labels": ["a", "b", "c"]},
        "train.jsonl: no example has the label 'c', so it cannot be learned; add examples, or leave",
    ),
    "a column of 0": (columns((0, 1), (0, 1)), None, SWITCHES, "no example has the label 'LOC'"),
    "a share": (columns((0, 1), (1, 0.5)), None, SWITCHES, "line 2: PER=0.5: allowed: 0, false, 1"),
    "two": (columns((0, 1), (2, 1)), None, SWITCHES, "line 2: LOC=2: allowed: 0, false, 1, true"),
    "nothing": (columns((0, None), (1, 1)), None, SWITCHES, "line 1: PER=None: allowed"),
    "no column": ([["a"], ["b"]], None, SWITCHES, "has no column 'LOC'; allowed: text, labels"),
}


@pytest.mark.parametrize(("train", "validation", "settings", "message"), BAD.values(), ids=BAD)
def test_what_is_no_set_of_labels(
    train: list[Any],
    validation: list[Any] | None,
    settings: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    data = splits(tmp_path, records(*train), validation and records(*validation))
    with pytest.raises(DataError) as raised:
        task(**settings).setup(data)
    assert message in str(raised.value)


def test_a_list_where_one_label_is_meant(tmp_path: Path) -> None:
    data = splits(tmp_path, records(["a"], ["b"]))
    one = make(composed("task.text_columns=[text]", "task.label_column=labels"), "task")
    with pytest.raises(
        DataError, match=r"line 1: labels=\['a'\] is no label.*lists are for task=mu"
    ):
        one.setup(data)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.label_columns=[a,b]"], "task.label_column=labels: task.label_columns says"),
        (["task.label_columns=[a]", "task.label_column=null"], "at least two names"),
        (["task.label_columns=[a,b,a]", "task.label_column=null"], "'a' is there 2 times"),
        (
            ["task.label_columns=[a,b]", "task.label_column=null", "task.labels=[c,d]"],
            "task.labels=['c', 'd']: task.label_columns says which labels there are",
        ),
        (["task.label_column=null"], "task.label_column=null: name the column of the labels, or"),
        (["task.label_columns=[]", "task.label_column=null"], "at least two names"),
        (["objective=eval/f1"], "no such metric; allowed: eval/loss, eval/f1_micro"),
    ],
)
def test_keys_that_contradict_each_other(overrides: list[str], message: str) -> None:
    overrides = ["task=multilabel_classification", *overrides]
    with pytest.raises(ConfigError) as raised:
        check(composed(*overrides), overrides)
    assert message in str(raised.value)


class Given(nn.Module):
    """A model whose logits are given."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self._logits = logits

    def forward(self, **inputs: Any) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=self._logits)


def test_the_loss_is_the_one_of_transformers_summed() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3) * 5, torch.randint(0, 2, (6, 3)).float()
    loss, given = task().loss(Given(logits), {"labels": labels})
    mean = nn.BCEWithLogitsLoss()(logits, labels)
    assert loss / task().count_targets({"labels": labels}) == pytest.approx(float(mean), rel=1e-6)
    assert given is logits


@pytest.fixture
def three(tmp_path: Path) -> tuple[MultilabelClassification, Splits, Dataset]:
    """A task that knows LOC and PER, its data, and the labels as they are encoded."""
    made = task()
    data = splits(tmp_path, records(*SETS))
    made.setup(data)
    return made, data, Dataset.from_dict({"labels": list(made.labels(data.train))})


LOGITS = [[-2.0, 2.0], [0.0, -1.0], [-0.5, 3.0]]  # predicts [PER], [LOC], [PER]


def test_what_metrics_see(three: tuple[MultilabelClassification, Splits, Dataset]) -> None:
    made, data, encoded = three
    decided, true = made.for_metrics(LOGITS, data.train, encoded)
    assert (decided, true) == ([[0, 1], [1, 0], [0, 1]], [[0, 1], [0, 0], [1, 1]])
    probabilities, references, examples = made.seen_by(PROBABILITIES, LOGITS, data.train, encoded)
    expected = torch.tensor(LOGITS).double().sigmoid().numpy()
    assert np.abs(np.asarray(probabilities) - expected).max() < 1e-12
    assert (references, examples) == (true, None)
    items, references, examples = made.seen_by(CONFIDENCES, LOGITS, data.train, encoded)
    assert items == [[1, p] for row in probabilities for p in row]
    assert (references, examples) == ([0, 1, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2])
    scores = made.score(0.0, LOGITS, data.train, encoded)
    scores.pop("ece")  # test_decisions.py
    assert scores == pytest.approx(
        {"f1_LOC": 0, "f1_PER": 1, "f1_micro": 2 / 3, "f1_macro": 0.5, "subset_accuracy": 1 / 3}
        | {"map": (1 / 2 + 1) / 2}
    )


def test_baseline_names_what_gives_the_best_micro_f1(tmp_path: Path) -> None:
    """Of a, b and c with the shares 3/4, 1/2 and 1/8: a and b."""
    made = task()
    sets = [["a", "b"]] * 3 + [["a"]] * 3 + [["b", "c"]] + [[]]
    data = splits(tmp_path, records(*sets), records(["a"], ["c"], ["a", "b"]))
    made.setup(data)
    encoded = {
        name: Dataset.from_dict({"labels": list(made.labels(split))})
        for name, split in data.named().items()
    }
    scores = made.baseline(data, encoded)
    assert scores["constant_f1_micro"] == pytest.approx(2 * 3 / (6 + 4))
    assert scores["constant_subset_accuracy"] == pytest.approx(1 / 3)
    assert scores["constant_map"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 3) / 3)


def test_tables_and_a_picture_by_label(
    three: tuple[MultilabelClassification, Splits, Dataset], tmp_path: Path
) -> None:
    made, data, encoded = three
    report = made.report(LOGITS, data.train, encoded)
    table = report.tables["predictions"]
    assert (table["labels"], table["predicted"]) == (SETS, [["PER"], ["LOC"], ["PER"]])
    assert table["probabilities"][0] == pytest.approx([0.1192, 0.8808])
    assert report.tables["by_label"] == {
        "label": ["LOC", "PER"],
        "precision": [0.0, 1.0],
        "recall": [0.0, 1.0],
        "f1": [0.0, 1.0],
        "support": [1, 2],
    }
    report.figures["by_label"](tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_a_picture_of_many_labels_has_the_most_frequent(tmp_path: Path) -> None:
    from expkit.tasks import confusion

    many = {"label": [f"l{i}" for i in range(90)], "f1": [0.5] * 90, "support": list(range(90))}
    confusion.draw_by_label(many, tmp_path / "a.png")
    confusion.draw_by_label({k: v[:50] for k, v in many.items()}, tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_a_prediction_is_shown_by_names() -> None:
    made = task()
    config = PretrainedConfig(num_labels=2, problem_type=made.problem_type)
    config.id2label = {0: "LOC", 1: "PER"}
    assert made.shown([0.5, 4.0], config) == {"labels": ["LOC", "PER"]}
    assert made.shown([-3.0, -4.0], config) == {"labels": []}
    made.shows_probabilities = True
    shown = made.shown([0.0, 4.0], config)
    assert shown["probabilities"] == pytest.approx({"LOC": 0.5, "PER": 1 / (1 + np.exp(-4))})


def test_what_the_data_look_like(tmp_path: Path) -> None:
    made = task()
    same = [{"text": "x", "labels": ["LOC"]}, {"text": "x", "labels": ["LOC", "PER"]}]
    data = splits(tmp_path, [*records(*SETS), *same], records(["LOC"], []))
    made.setup(data)
    tokenizer = TinyBert(100, 8, 1, 1, 0.0).tokenizer(made.texts(data.train))
    facts = made.describe(data, tokenizer)
    assert facts["train: labels"] == "LOC 60%, PER 60%"
    assert facts["train: labels of an example"] == "1.20"
    named = data.named()
    encoded = {n: encoded_by(made.encode(s, tokenizer, BertConfig())) for n, s in named.items()}
    report = inspected(made, named, encoded, tokenizer)
    assert report["train"]["labels"] == {"LOC": 3, "PER": 3}
    assert report["train"]["ambiguous"]["count"] == 1
    assert report["validation"]["lacks"] == ["PER"]


def test_predicted_lists_fit_a_parquet_file_whose_first_part_has_no_label(tmp_path: Path) -> None:
    from expkit.data.writing import save

    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": str(i)}) for i in range(4)))
    split = read(tmp_path / "in.jsonl")
    parts = [
        (split.part(0, 2), [[{"labels": []}], [{"labels": []}]]),
        (split.part(2, 4), [[{"labels": ["a", "b"]}], [{"labels": []}]]),
    ]
    for suffix in ("parquet", "csv"):
        save(tmp_path / f"out.{suffix}", iter(parts), has_several_rows=False)
    table = pa.parquet.read_table(tmp_path / "out.parquet")
    assert table["predicted_labels"].to_pylist() == [[], [], ["a", "b"], []]
    written = (tmp_path / "out.csv").read_text().splitlines()
    assert written[3] == '"2","[""a"", ""b""]"'


def entity_types(folder: Path) -> Split:
    file = folder / "entity_types" / "train.jsonl"
    return read(file)


@pytest.mark.parametrize("how", [{"validation_share": 0.1}, {"folds": 5, "fold": 2}])
def test_every_split_keeps_the_shares_of_rare_labels(how: Any, shared_data: Path) -> None:
    made, split = task(), entity_types(shared_data)
    data = divided(Undivided(split, Division(**how)), list(made.asked(split)), made.strata(split))
    share = how.get("validation_share", 0.2)
    counts = Counter(label for labels in split.column("labels") for label in labels)
    held = Counter(label for labels in data.validation.column("labels") for label in labels)
    assert len(counts) == 6
    assert all(abs(held[label] - share * n) < 2 for label, n in counts.items()), (held, counts)
    assert abs(len(data.validation) - share * len(split)) < 0.02 * len(split)
    made.setup(data)


def test_rare_labels_beside_frequent_ones_reach_all_folds(tmp_path: Path) -> None:
    """One label occurs only beside a, in as many examples as there are folds; most have no label."""
    sets = [["a"], ["a", "b"], ["b"], [], []] * 20 + [["a", "c"]] * 5
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, records(*sets))))
    split, made = read(tmp_path / "all.jsonl"), task()
    for seed in range(10):
        for fold in range(1, 6):
            how = Division(folds=5, fold=fold, seed=seed)
            data = divided(Undivided(split, how), list(made.asked(split)), made.strata(split))
            held = Counter(x for labels in data.validation.column("labels") for x in labels)
            assert held["c"] == 1
            assert all(abs(held[x] - n / 5) <= 1 for x, n in (("a", 45), ("b", 40))), held
            assert data.validation.column("labels").count([]) == 8


def test_a_label_too_rare_for_the_folds(tmp_path: Path) -> None:
    sets = [["a"], ["a", "b"], ["b"], []] * 5 + [["a", "c"]]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, records(*sets))))
    split, made = read(tmp_path / "all.jsonl"), task()
    how = Division(folds=3, fold=1)
    with pytest.raises(DataError, match="the label 'c' has examples in 1 of data"):
        divided(Undivided(split, how), list(made.asked(split)), made.strata(split))
    splits = divided(
        Undivided(split, Division(validation_share=0.3)),
        list(made.asked(split)),
        made.strata(split),
    )
    made.setup(splits)


def test_the_demo_data_name_types_of_entities() -> None:
    prepared = prepare(composed("task=multilabel_classification", *TINY))
    assert prepared.training.model.config.problem_type == "multi_label_classification"
    train = prepared.splits.train
    assert {x for labels in train.column("labels") for x in labels} == {"PER", "LOC", "ORG", "DATE"}
    assert [] in train.column("labels") or len(train) == 64
