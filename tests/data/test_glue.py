"""GLUE's own files give the data set of the hub: its columns, its labels and their ids."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset
from omegaconf import OmegaConf
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from conftest import composed
from expkit.config.checks import check
from expkit.config.components import Metrics
from expkit.config.fingerprint import fingerprint
from expkit.config.glue import tasks
from expkit.data.glue import load
from expkit.models.hub import go_online_if_asked
from expkit.terminal.errors import ConfigError, DataError
from small_glue import TEXTS, write_glue

# As the data set viewer of the hub shows nyu-mll/glue.
ENTAILMENT = ["entailment", "not_entailment"]
ON_HUB: dict[str, tuple[list[str], list[str] | None]] = {
    "cola": (["sentence"], ["unacceptable", "acceptable"]),
    "sst2": (["sentence"], ["negative", "positive"]),
    "mrpc": (["sentence1", "sentence2"], ["not_equivalent", "equivalent"]),
    "stsb": (["sentence1", "sentence2"], None),
    "qqp": (["question1", "question2"], ["not_duplicate", "duplicate"]),
    "mnli": (["premise", "hypothesis"], ["entailment", "neutral", "contradiction"]),
    "qnli": (["question", "sentence"], ENTAILMENT),
    "rte": (["sentence1", "sentence2"], ENTAILMENT),
    "wnli": (["sentence1", "sentence2"], ["not_entailment", "entailment"]),
}
FIRST_IDS = {  # of the small files, which begin with what they write as 0, not_entailment and contradiction
    **{key: [0, 1] for key in ON_HUB},
    "mnli": [2, 0],
    "qnli": [1, 0],
    "rte": [1, 0],
    "stsb": [0.0, 1.001],
}
OBJECTIVES = {"cola": "matthews", "mrpc": "f1", "qqp": "f1", "stsb": "pearson"}


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.mark.parametrize("task", ON_HUB)
def test_columns_texts_and_ids_are_those_of_the_hub(task: str, download: Path) -> None:
    splits: Any = load(str(download), task)  # type: ignore[arg-type]
    texts, labels = ON_HUB[task]
    assert list(splits.named()) == ["train", "validation", *(["mismatched"] * (task == "mnli"))]
    assert splits.train.rows.column_names == [*texts, "label"]
    feature = splits.train.rows.features["label"]
    assert (feature.names if isinstance(feature, ClassLabel) else None) == labels
    assert splits.train.column("label")[:2] == FIRST_IDS[task]
    assert splits.train.column(texts[0]) == [text for text, _ in TEXTS] * 2  # lone quotes stay
    if len(texts) > 1:
        assert splits.train.column(texts[1])[7] == "An empty quotation train 7"
        assert splits.validation.column(texts[1])[7].endswith(" 7")
    where = splits.train.where(0)
    assert where.endswith(f"train.tsv, line {1 if task == 'cola' else 2}"), where


def test_the_folder_of_the_task_does_as_well(download: Path) -> None:
    splits: Any = load(str(download / "MNLI"), "mnli", max_train_examples=3, max_eval_examples=2)
    assert [len(split) for split in splits.named().values()] == [3, 2, 2]
    whole: Any = load(str(download), "mnli")
    assert list(whole.train)[:3] == list(splits.train)
    assert whole.train.digest != splits.train.digest
    assert (len(whole.validation), len(whole.further["mismatched"])) == (8, 9)


def test_mrpc_as_it_came_before_it_was_divided(tmp_path: Path) -> None:
    download = write_glue(tmp_path) / "MRPC"
    text = (download / "train.tsv").read_text(encoding="utf-8")
    (download / "msr_paraphrase_train.txt").write_text(text, encoding="utf-8")
    for name in ("train.tsv", "dev.tsv"):
        (download / name).unlink()
    (download / "dev_ids.tsv").write_text("12\t92\n11\t95\n15\t95")  # no pair has 11 and 95
    splits: Any = load(str(tmp_path), "mrpc")
    assert [split.name for split in splits.named().values()] == [
        "glue-mrpc-train",
        "glue-mrpc-validation",
    ]
    assert splits.validation.column("sentence2") == [f"{TEXTS[i][1]} train {i}" for i in (2, 5)]
    assert len(splits.train) == 14
    assert splits.train.digest != splits.validation.digest
    assert splits.validation.where(1).endswith("msr_paraphrase_train.txt, line 7")
    (download / "dev_ids.tsv").unlink()
    with pytest.raises(ConfigError, match=r"MRPC/dev_ids\.tsv: no such file"):
        check(composed("experiment=glue_mrpc", f"data.path={tmp_path}"), [])


def test_broken_lines_of_qqp_are_left_out_and_of_others_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_glue(tmp_path)
    for task in ("QQP", "RTE"):
        file = tmp_path / task / "train.tsv"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join([*lines[:4], "7\tbroken\n", *lines[4:], "8\n"]), encoding="utf-8")
    splits: Any = load(str(tmp_path), "qqp")
    assert len(splits.train) == 16
    assert splits.train.where(3).endswith("line 6")
    assert (
        "2 lines with too few columns, first line 5; they are left out" in capsys.readouterr().out
    )
    with pytest.raises(DataError, match=r"RTE/train\.tsv, line 5: 2 columns; expected 4"):
        load(str(tmp_path), "rte")
    file = tmp_path / "QQP" / "train.tsv"
    file.write_text(file.read_text(encoding="utf-8") + "\t".join("1234567"), encoding="utf-8")
    with pytest.raises(DataError, match="line 20: 7 columns; expected 6"):
        load(str(tmp_path), "qqp")


@pytest.mark.parametrize(
    ("task", "name", "old", "new", "message"),
    [
        ("rte", "RTE/train.tsv", "\tnot_entailment\n", "\tnot entailment\n", "line 2: label='not entailment': allowed: entailment, not_entailment; did you mean 'not_entailment'"),
        ("cola", "CoLA/dev.tsv", "gj04\t1", "gj04\t2", "dev.tsv, line 2: label='2': allowed: 0, 1"),
        ("stsb", "STS-B/train.tsv", "\t0.000\n", "\tnone\n", "line 2: score='none': expected a number"),
        ("qqp", "QQP/train.tsv", "question2", "question3", "has no column 'question2'; .* did you mean 'question3'"),
        ("wnli", "WNLI/dev.tsv", None, "", "dev.tsv: is empty"),
        ("wnli", "WNLI/dev.tsv", None, "index\tsentence1\tsentence2\tlabel\n", "dev.tsv: is empty"),
    ],
)  # fmt: skip
def test_what_is_not_the_file_of_the_benchmark(
    task: Any, name: str, old: str | None, new: str, message: str, tmp_path: Path
) -> None:
    file = write_glue(tmp_path) / name
    text = file.read_text(encoding="utf-8")
    file.write_text(new if old is None else text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(str(tmp_path), task)


@pytest.mark.parametrize("task", ON_HUB)
def test_the_recipe_fits_its_data_and_has_the_metrics_of_the_benchmark(
    task: str, download: Path
) -> None:
    cfg = composed(f"experiment=glue_{task}", f"data.path={download}")
    check(cfg, [])
    assert cfg.data.task == task
    assert cfg.objective == f"eval/{OBJECTIVES.get(task, 'accuracy')}"
    splits: Any = load(cfg.data.path, cfg.data.task)
    splits.train.require([*cfg.task.text_columns, cfg.task.label_column])
    metrics = Metrics(OmegaConf.to_container(cfg.task.metrics))  # type: ignore[arg-type]
    if task == "stsb":
        true, predicted = [0.0, 1.2, 5.0, 3.3, 3.3], [0.5, 0.5, 4.0, 3.0, 2.9]
        expected = {
            "pearson": pearsonr(predicted, true).statistic,
            "spearman": spearmanr(predicted, true).statistic,
        }
    else:
        true, predicted = [0, 1, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0, 1]
        expected = {
            "accuracy": accuracy_score(true, predicted),
            "f1": f1_score(true, predicted),
            "matthews": matthews_corrcoef(true, predicted),
        }
    shown = {key.rpartition("/")[2] for key in tasks()[task]["scores"].values()}
    assert shown <= expected.keys()
    for name in shown:
        scores = metrics[name].compute(predictions=predicted, references=true)
        assert scores[name] == pytest.approx(expected[name], abs=1e-12)


def test_a_run_is_known_by_the_content_of_the_files(tmp_path: Path) -> None:
    write_glue(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    def made(name: str) -> str:
        cfg = composed("experiment=glue_mnli", f"data.path={tmp_path / name}")
        check(cfg, [])
        return fingerprint(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]

    before = made("a")
    assert made("b") == before == made("a/MNLI")
    (tmp_path / "b" / "MNLI" / "test.tsv").write_text("changed")
    assert made("b") == before
    for name in ("train", "dev_matched", "dev_mismatched"):
        file = tmp_path / "b" / "MNLI" / f"{name}.tsv"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('5" long', '6" long'), encoding="utf-8")
        assert made("b") != before
        file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "data.path='nowhere': nowhere/train.tsv: no such file; expected the folder of GLUE's download, the folder RTE in it, or nyu-mll/glue for the hub"),
        ("glue", "glue/RTE/dev.tsv: no such file; in glue/RTE: .*did you mean 'dev2.tsv'"),
    ],
)  # fmt: skip
def test_a_missing_file_is_refused_before_anything_is_loaded(
    path: str, message: str, project: Path
) -> None:
    folder = write_glue(project / "glue") / "RTE"
    (folder / "dev.tsv").rename(folder / "dev2.tsv")
    with pytest.raises(ConfigError, match=message):
        check(composed("experiment=glue_rte", f"data.path={path}"), [])


def test_only_the_name_on_the_hub_may_use_the_network(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("expkit.models.hub._answers", lambda address: bool(asked.append(address)))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    write_glue(project / "glue")
    go_online_if_asked(composed("experiment=glue_rte", "data.path=glue"))
    assert asked == []
    go_online_if_asked(composed("experiment=glue_rte"))
    assert len(asked) == 1


def test_the_data_set_of_the_hub(project: Path) -> None:
    """`datasets` reads a folder of this name as it would read the hub: Parquet files, listed in a README."""
    folder = project / "nyu-mll" / "glue"
    download = write_glue(project / "glue")
    files = {
        "train": "train",
        "validation": "validation_matched",
        "mismatched": "validation_mismatched",
    }
    here: Any = load(str(download), "mnli")
    listed = []
    for name, split in here.named().items():
        (folder / "mnli").mkdir(parents=True, exist_ok=True)
        file = f"mnli/{files[name]}.parquet"
        rows: Dataset = split.rows
        rows.to_parquet(str(folder / file))
        listed.append({"split": files[name], "path": file})
    configs = json.dumps([{"config_name": "mnli", "data_files": listed}])
    (folder / "README.md").write_text(f"---\nconfigs: {configs}\n---\n")
    cfg = composed("experiment=glue_mnli")
    there: Any = load(cfg.data.path, cfg.data.task, max_train_examples=5)
    assert list(there.train) == list(here.train)[:5]
    assert list(there.validation) == list(here.validation)
    assert list(there.further["mismatched"]) == list(here.further["mismatched"])
    assert there.train.rows.features == here.train.rows.features
