"""Names of runs: the same from the command line and from Python, and never a wrong one."""

import re
from typing import Any

import pytest
from omegaconf import OmegaConf

from conftest import composed
from expkit.config.naming import labels, run_name, short_target
from expkit.config.project import conf_dir

# name: (overrides, options that were taken)
RUNS = {
    "classification minilm lora-attention adamw": ((), {}),
    "ner minilm lora-all_linear sgd": (
        ("task=token_classification", "lora=all_linear", "optimizer=sgd"),
        {"model": "minilm", "lora": "all_linear", "optimizer": "sgd"},
    ),
    "mlm tiny_bert full adam s3": (
        ("task=masked_lm", "model.hidden_size=32", "optimizer=adam", "seed=3"),
        {"model": "tiny_bert", "lora": "none", "optimizer": "adam"},
    ),
    "classification minilm lora adamw": (
        ("lora.target_modules=[query]",),
        {"model": "minilm", "lora": "attention", "optimizer": "adamw"},
    ),
    "translation tiny_t5 full adamw": (
        ("task=translation", "model=tiny_t5"),
        {"model": "tiny_t5", "lora": "none", "optimizer": "adamw"},
    ),
    "classification bert_base_cased full adamw": (
        ("model=bert_base_cased", "lora=none"),
        {"model": "bert_base_cased", "lora": "none", "optimizer": "adamw"},
    ),
}


def config(*overrides: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(composed(*overrides), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@pytest.mark.parametrize(("name", "run"), RUNS.items(), ids=list(RUNS))
def test_a_run_has_one_name(name: str, run: tuple[tuple[str, ...], dict[str, str]]) -> None:
    overrides, choices = run
    assert run_name(config(*overrides), choices, overrides) == name
    assert run_name(config(*overrides), {}, overrides) == name


def test_what_no_option_says_has_the_name_of_its_class() -> None:
    own = config()
    own["task"]["_target_"] = "mine.tasks.Triples"
    own["optimizer"]["_target_"] = "mine.SignSGD"
    own["lora"]["target_modules"] = ["query"]
    choices = {"optimizer": "adamw", "model": "minilm", "lora": "none"}
    assert run_name(own, choices) == "Triples minilm lora SignSGD"
    own["model"]["dropout"] = 0.5
    assert run_name(own, {}) == "Triples Checkpoint lora SignSGD"


def test_data_are_named_by_what_is_read() -> None:
    files = ("data=files", "data.train_file=some/a.jsonl", "data.validation_file=b.jsonl")
    assert labels(config(*files), {"data": "files"})["data"] == "a.jsonl"
    assert labels(config("data=hub", "data.path=nyu-mll/glue"), {})["data"] == "glue"
    assert labels(config(), {})["data"] == "demo"


def test_no_two_classes_of_option_files_share_a_short_name() -> None:
    text = "".join(file.read_text() for file in conf_dir().rglob("*.yaml"))
    targets = set(re.findall(r"_target_: (\S+)", text))
    assert len(targets) > 20
    assert len({short_target(target) for target in targets}) == len(targets)
    assert short_target("torch.optim.AdamW") == "AdamW"
    assert short_target("mine.AdamW") == "mine.AdamW"
