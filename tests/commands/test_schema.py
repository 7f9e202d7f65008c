"""JSON Schemas of the config files: right files validate, wrong ones do not, and expkit's own check agrees."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import ConfigCompositionException
from jsonschema import Draft7Validator
from omegaconf import OmegaConf
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from benchmarks.reference import OUTSIDE, PAGE, page, unsaid
from conftest import CHECKOUT, composed
from expkit.commands import init, schema
from expkit.config.checks import check
from expkit.terminal.errors import ConfigError, UserError

CONF = CHECKOUT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
HEAD = "# @package _global_\n"
# Recipes by what is wrong with them.
WRONG = {
    "misspelt key": "train: {epoch: 3}",
    "misspelt section": "trian: {epochs: 3}",
    "unknown key of the run": "sead: 1",
    "fraction for a whole number": "train: {epochs: 1.5}",
    "text for a number": "optimizer: {lr: fast}",
    "number for a switch": "train: {group_by_length: 7}",
    "number for a text": "run_name: 20240501",
    "null where a value is needed": "train: {batch_size: null}",
    "list for a number": "eval: {batch_size: [1, 2]}",
    "text for a list": "trusted_modules: my_pkg",
    "too small": "checkpoint: {keep: 0}",
    "not above the bound": "optimizer: {lr: 0}",
    "not below the bound": "lora: {dropout: 1}",
    "too large": "defaults: [override /task: masked_lm]\ntask: {mlm_probability: 1.5}",
    "another word": "precision: fp8",
    "another word of a component": "defaults: [override /task: masked_lm]\ntask: {remainder: dorp}",
    "wrong word or too small": "defaults: [override /task: translation]\nmodel: {vocab_size: 63}",
    "key of another optimizer": "optimizer: {_target_: torch.optim.AdamW, momentum: 0.9}",
    "keys of two optimizers": "optimizer: {amsgrad: true, nesterov: true}",
    "key of another model": "model: {_target_: expkit.models.scratch.TinyBert, path: x}",
    "key that expkit gives": "optimizer: {_target_: torch.optim.AdamW, params: []}",
    "range within a list": "optimizer: {betas: [0.9, 1.0]}",
    "range within a mapping": "task: {class_weights: {a: 0, b: 1}}",
    "key of a metric": "task: {metrics: {f1: {_target_: expkit.metrics.classification.F1, beta: 2}}}",
    "misspelt group in defaults": "defaults: [override /optimiser: sgd]",
    "misspelt option in defaults": "defaults: [override /optimizer: sdg]",
}
RIGHT = {
    "interpolations": "train: {epochs: '${eval.batch_size}', log_every: '${train.batch_size}'}",
    "options": "defaults: [override /optimizer: sgd, override /hydra/launcher: basic]\n"
    "optimizer: {momentum: 0.5}",
    "nulls": "train: {max_steps: null, max_grad_norm: null}\nrun_name: null",
    "a component": "optimizer: {_target_: torch.optim.AdamW, lr: 1e-4, amsgrad: true}",
    "words and numbers": "task: {threshold: tune, class_weights: {a: 2, b: 0.5}}",
    "a metric": "task: {metrics: {mine: {_target_: expkit.metrics.classification.MacroF1}}}",
    "another component": "scheduler: {_target_: expkit.optim.wsd, decay_ratio: 0.1}",
}


def validator(conf: Path, name: str) -> Draft7Validator:
    """Checks by a file of `conf/.schema`, whose references lead to other files there."""
    files = conf.joinpath(".schema").glob("*.json")
    known = [(f.name, Resource(json.loads(f.read_text()), DRAFT7)) for f in files]
    return Draft7Validator({"$ref": name}, registry=Registry().with_resources(known))


def errors(conf: Path, name: str, text: str) -> list[str]:
    """What an editor would underline."""
    found = validator(conf, name).iter_errors(OmegaConf.to_container(OmegaConf.create(text)))
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONF)))
def test_every_file_names_its_schema_and_validates(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    line = text.splitlines()[text.startswith(HEAD)]  # Hydra reads the package in the first line
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", line)
    assert named, line
    schema_file = (file.parent / named[1]).resolve()
    group = ".".join(file.relative_to(CONF).parts[:-1])
    is_whole = text.startswith(HEAD) or not group
    assert schema_file == CONF / ".schema" / f"{'config' if is_whole else group}.json"
    assert errors(CONF, schema_file.name, text) == []


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "experiment").mkdir()
    return tmp_path / "experiment" / "mine.yaml"


def accepts(recipe: Path, text: str) -> bool:
    """Whether expkit takes a recipe."""
    recipe.write_text(HEAD + text)
    typed = [f"hydra.searchpath=[file://{recipe.parents[1]}]", "experiment=mine"]
    try:
        check(composed(*typed), typed)
    except (ConfigError, ConfigCompositionException):
        return False
    return True


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_by_the_schema_and_by_the_check(name: str, recipe: Path) -> None:
    assert errors(CONF, "config.json", WRONG[name]), name
    assert not accepts(recipe, WRONG[name])


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_file_is_accepted_by_both(name: str, recipe: Path) -> None:
    assert errors(CONF, "config.json", RIGHT[name]) == []
    assert accepts(recipe, RIGHT[name])


def test_schemas_and_reference_are_those_of_the_files_and_the_source(tmp_path: Path) -> None:
    """`expkit schema` and then `make reference` write them anew."""
    shutil.copytree(CONF, tmp_path / "conf", ignore=shutil.ignore_patterns(".schema"))
    written = schema.write(tmp_path / "conf")
    assert {f.name for f in written} == {f.name for f in (CONF / ".schema").iterdir()}
    for file in written:
        assert file.read_text() == (CONF / ".schema" / file.name).read_text(), file.name
    assert page(CONF) == PAGE.read_text(encoding="utf-8")


def test_every_key_has_a_meaning() -> None:
    whole = json.loads((CONF / ".schema" / "config.json").read_text())
    assert [key for key, value in whole["properties"].items() if not known(key, value)] == []
    without = {
        f"{name}: {key}"
        for name, found in whole["definitions"].items()
        if "properties" in found and "if" not in found
        # PyTorch documents its classes; what makes demo data gets its arguments from the data.
        if not name.startswith(("torch.optim.", "expkit.data.demo."))
        for key in unsaid(found)
    }
    assert without == set()
    adam = whole["definitions"]["torch.optim.AdamW"]["properties"]
    assert all("description" in adam[key] for key in ("lr", "betas", "eps", "weight_decay"))


def known(key: str, value: Any) -> bool:
    """Whether a key of the whole configuration is described, or is a group."""
    return "description" in value or "$ref" in value or key in (*OUTSIDE, "hydra")


def test_the_schemas_of_a_project_know_its_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="conf: no such folder"):
        schema.run(schema.parser().parse_args([]))
    (tmp_path / "own_sgd.py").write_text(
        "from typing import Annotated, Literal\nfrom expkit.config.constraints import at_least\n"
        "class Mine:\n"
        '    """An optimizer.\n\n    Args:\n        power: of the gradient,\n            at least one.\n    """\n'
        "    def __init__(self, params, power: Annotated[int, at_least(1)], how: Literal['a', 'b'] = 'a'): ...\n"
        "raise RuntimeError('it was imported')\n"
    )
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    file = tmp_path / "conf" / "optimizer" / "mine.yaml"
    right = "_target_: own_sgd.Mine\n_partial_: true\npower: 2\nhow: b # a or b\n"
    file.write_text(right)
    assert schema.run(schema.parser().parse_args([]))
    assert f"files in {tmp_path / 'conf' / '.schema'}" in capsys.readouterr().out
    conf = tmp_path / "conf"
    assert errors(conf, "optimizer.json", right) == []
    assert errors(conf, "optimizer.json", "defaults: [adamw, _self_]\nlr: 1e-4\n") == []
    for wrong in ("power: 0", "how: c", "params: []", "power: two", "powr: 2"):
        text = f"_target_: own_sgd.Mine\n{wrong}\n"
        assert errors(conf, "optimizer.json", text), wrong
        assert errors(conf, "config.json", f"optimizer: {{_target_: own_sgd.Mine, {wrong}}}"), wrong
    assert errors(conf, "config.json", "defaults: [override /optimizer: mine]") == []
    assert errors(conf, "config.json", "optimizer: {power: 3}") == []
    definitions = json.loads((conf / ".schema" / "config.json").read_text())["definitions"]
    # A language server looks at `properties` first, and at the patterns only for other keys.
    entry = definitions["defaults"]["items"]["then"]["properties"]["override /optimizer"]
    assert entry["anyOf"][0] == {"enum": ["adam", "adamw", "sgd", "mine"]}
    keys = definitions["own_sgd.Mine"]["properties"]
    assert keys["power"]["description"] == "of the gradient, at least one."
    assert (keys["power"]["default"], keys["how"]["description"]) == (2, "a or b")
    file.write_text("lr: [1\n")
    with pytest.raises(UserError, match=r"mine\.yaml.*line 2"):
        schema.write(conf)


def test_the_files_of_a_new_project_validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "film-critic"
    init.run(init.parser().parse_args([str(project)]))
    monkeypatch.syspath_prepend(project)
    schema.write(project / "conf")
    files = sorted((project / "conf").rglob("*.yaml"))
    for file in files:
        text = file.read_text(encoding="utf-8")
        name = Path(re.search(r"\$schema=(\S+)", text)[1]).name  # type: ignore[index]
        assert errors(project / "conf", name, text) == [], file
    task = "task: {_target_: film_critic.Focal, max_length: 2}"
    assert errors(project / "conf", "config.json", task)
    assert len(files) >= 3
