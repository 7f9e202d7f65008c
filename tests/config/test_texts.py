"""Text that is typed stays text; what YAML has turned into something else is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from conftest import composed
from expkit.config.checks import check
from expkit.config.texts import restore
from expkit.terminal.errors import ConfigError

FILES = ("data=files", "data.train_file=a.csv", "data.validation_file=a.csv")


def checked(*overrides: str) -> Any:
    cfg = composed(*overrides)
    check(cfg, list(overrides))
    return cfg


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("run_name=2024_05_01", "2024_05_01"),
        ("run_name=inf", "inf"),
        ("run_name=True", "True"),
        ("run_name=0010", "0010"),
        ("run_name=1e-4", "1e-4"),
        ("run_name=+7", "+7"),
        ("run_name='1_0'", "1_0"),
        ("++run_name=-1_0.50", "-1_0.50"),
        ("run_name=null", None),
        ("run_name=${seed}", "42"),
        ("tracking.experiment=1e-4", "1e-4"),
        ("resume=12e45678", "12e45678"),
        ("task.label_column=1_0", "1_0"),
        ("task.labels=[no,yes,1_0,false,0x1,1.0]", ["no", "yes", "1_0", "false", "0x1", "1.0"]),
        ("task.labels=[ 1e3 , 'a b',${seed}]", ["1e3", "a b", "42"]),
        ("task.text_columns=[1e3]", ["1e3"]),
        ("model.revision=1e5", "1e5"),
        ("model.attention_modules=[0,1e2]", ["0", "1e2"]),
    ],
)
def test_what_is_typed_counts(override: str, expected: Any) -> None:
    key = override.lstrip("+").partition("=")[0]
    assert OmegaConf.select(checked(override), key) == expected


def test_texts_inside_a_mapping_and_of_a_metric() -> None:
    assert checked("task={labels:[1_0,2_0]}").task.labels == ["1_0", "2_0"]
    names = "task.metrics.seqeval.names=[f1,1_0,true]"
    cfg = checked("task=token_classification", names)
    assert cfg.task.metrics.seqeval.names == ["f1", "1_0", "true"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("task.class_weights={1:3}",), {"1": 3.0}),
        (("task.class_weights={yes:2, no:1}",), {"yes": 2.0, "no": 1.0}),
        (
            ("task.class_weights={1_0:2,true:1_0, 1e3 : 4,1.0:5,0:${seed}}",),
            {"1_0": 2.0, "true": 10.0, "1e3": 4.0, "1.0": 5.0, "0": 42.0},
        ),
        (("+task.class_weights.1_0=2",), {"1_0": 2.0}),
        (("task={class_weights:{b:1,007:3}}",), {"b": 1.0, "007": 3.0}),
        (("task.class_weights={10:1,1_0:2}",), {"10": 1.0, "1_0": 2.0}),
        (("task.class_weights={10:1}", "++task.class_weights.b=2"), {"10": 1.0, "b": 2.0}),
        (("task.class_weights={10:1}", "task.class_weights=null"), None),
        (("task.class_weights=balanced",), "balanced"),
        (("task.class_weights={nan:3,1:.5}",), {"nan": 3.0, "1": 0.5}),
    ],
)
def test_names_inside_of_a_mapping(typed: tuple[str, ...], expected: Any) -> None:
    assert checked(*typed).task.class_weights == expected


def test_numbers_and_switches_stay_what_they_are() -> None:
    cfg = checked("seed=1_0", "optimizer.lr=1e-4", "train.group_by_length=FALSE", "train.epochs=2")
    assert (cfg.seed, cfg.optimizer.lr, cfg.train.group_by_length, cfg.train.epochs) == (
        10,
        1e-4,
        False,
        2,
    )


def test_the_last_one_counts() -> None:
    assert checked("run_name=1_0", "run_name=2_0").run_name == "2_0"
    assert checked("task.labels=[1_0,b]", "task.labels=[c,2_0]").task.labels == ["c", "2_0"]


def test_a_file_or_a_folder_that_looks_like_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024_05").mkdir()
    with pytest.raises(ConfigError, match=r"model\.path='2024_05': has no config\.json"):
        checked("model=checkpoint", "model.path=2024_05")
    with pytest.raises(ConfigError, match=r"data\.train_file='1e3'"):
        checked("data=files", "data.train_file=1e3", "data.validation_file=1e3")


def test_the_users_own_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_text.py").write_text(
        "from typing import Optional\n"
        "class Mine:\n"
        "    def __init__(self, tag: str, tags: Optional[list[str]], size: int, other=None): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    typed = ("backend._target_=own_text.Mine", "+backend.tag=1e3", "+backend.tags=[1_0,true]")
    cfg = checked(*typed, "+backend.size=1_0", "+backend.other=1e3")
    assert dict(cfg.backend) == {
        "_target_": "own_text.Mine",
        "tag": "1e3",
        "tags": ["1_0", "true"],
        "size": 10,
        "other": 1000.0,
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("task:\n  labels: [no, yes]", "task.labels.0=False"),
        ("task:\n  label_column: no", "task.label_column=False"),
        ("task:\n  class_weights: {no: 2}", "task.class_weights={False: 2}"),
        ("run_name: 2024_05_01", "run_name=20240501"),
        ("tracking:\n  experiment: 1e-4", "tracking.experiment=0.0001"),
        ("model:\n  revision: 1e5", "model.revision=100000.0"),
        ("task:\n  text_columns: [text, 0x1]", "task.text_columns.1=1"),
        (
            "task:\n  metrics:\n    bleu:\n      _target_: expkit.metrics.translation.BLEU\n      language: no",
            "task.metrics.bleu.language=False",
        ),
        (
            "hydra:\n  sweeper:\n    params:\n      run_name: 1_0",
            "hydra.sweeper.params.run_name=10",
        ),
    ],
)
def test_a_file_has_to_quote(text: str, key: str, tmp_path: Path) -> None:
    recipe = tmp_path / "experiment" / "mine.yaml"
    recipe.parent.mkdir()
    recipe.write_text(f"# @package _global_\n{text}\n")
    command = ["-m", "expkit", "--config-dir", str(tmp_path), "experiment=mine", "dry_run=true"]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert f"expkit: {key}: " in done.stderr
    assert "takes a text, and YAML has read" in done.stderr
    assert "quotes" in done.stderr


def test_options_of_a_launcher_that_are_texts() -> None:
    launcher = {"_target_": "hydra_plugins.any.Launcher", "temp_folder": 202405, "n_jobs": 10}
    cfg = OmegaConf.create({"hydra": {"launcher": launcher}})
    typed = ["hydra.launcher.temp_folder=2024_05", "hydra.launcher.n_jobs=1_0"]
    restore(cfg, typed)
    assert cfg.hydra.launcher.temp_folder == "2024_05"
    assert cfg.hydra.launcher.n_jobs == 10
