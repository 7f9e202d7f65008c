"""A component of the user's own is checked as those of expkit are: by its constructor, which is read."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf, open_dict

from conftest import composed
from expkit.config.checks import check
from expkit.config.signatures import signature_of
from expkit.terminal.errors import ConfigError

CODE = """
import typing as t
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Literal, Optional

import numpy  # heavy, and not needed to check a value

from expkit.config import constraints
from expkit.config.constraints import above as more_than, at_least
from expkit.tasks.text_classification import TextClassification
from own_types import Size
import torch

raise RuntimeError("nobody imports this")

def at_most(bound): ...

class Own:
    def __init__(self, params=None, *, size: Annotated[int, at_least(4)] = 4,
                 share: "Annotated[float, constraints.at_least(0, below=1)] | None" = None,
                 how: Literal["drop", "keep"] = "drop", names: t.Sequence[str] = (),
                 flag: bool = False, sizes: list[Annotated[int, more_than(0)]] = (),
                 weights: t.Mapping[str, float] = None, pair: tuple[int, int] = (1, 2),
                 auto: Annotated[int, at_least(64)] | Literal["auto"] = "auto",
                 aliased: Optional[Size] = None, other: numpy.ndarray = None,
                 foreign: Annotated[int, at_most(3), "a note"] = 0, count: int = None) -> None: ...

def own(optimizer, total_steps, size: Annotated[int, at_least(4)] = 4): ...

@dataclass
class Fields:
    size: Annotated[int, at_least(4)]
    _: KW_ONLY
    kind: t.ClassVar[str] = "x"
    made: int = field(init=False)
    names: list[str] = field(default_factory=list)

@dataclass(frozen=True)
class MoreFields(Fields):
    share: float = 0.5

class Smoothed(TextClassification):
    def __init__(self, smoothing: Annotated[float, at_least(0, below=1)], **settings):
        super().__init__(**settings)

class Twice(Smoothed):
    def __init__(self, max_length, label_column="kind", *args, **settings):
        super().__init__(0.1, max_length=max_length, label_column="label", **settings)

class Inherited(Smoothed): ...

class Popped(TextClassification):
    def __init__(self, **settings):
        settings.pop("extra", None)
        super().__init__(**settings)

class Kept(TextClassification):
    def __init__(self, **settings):
        self.settings = settings

class Adam(torch.optim.AdamW):
    def __init__(self, params, extra: int = 1, **settings):
        super().__init__(params, **settings)

class Loose:
    def __init__(self, params, **settings):
        self.settings = settings

class Lengthy:
    def __init__(self, name: Annotated[str, at_least(4)]): ...

class Below(Lengthy): ...
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_parts.py").write_text(CODE)
    package = tmp_path / "own_types"  # a folder without __init__.py is a package as well
    package.mkdir()
    (package / "__init__.py").write_text("from .sizes import Whole as Size\n")
    (package / "sizes.py").write_text(
        "from typing import Annotated\nfrom expkit.config.constraints import at_least\n"
        "Whole = Annotated[int, at_least(4)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def complaint(key: str, node: dict[str, Any]) -> str:
    """What is said about a component at a key; nothing is imported."""
    cfg = composed("lora=none")
    with open_dict(cfg):
        OmegaConf.update(cfg, key, node, merge=False, force_add=True)
        cfg.trusted_modules = ["own_parts"]
    try:
        check(cfg, ["trusted_modules=[own_parts]"])
    except ConfigError as error:
        return str(error)
    assert OmegaConf.select(cfg, key) == node
    return ""


@pytest.mark.parametrize(
    ("key", "node"),
    [
        *((key, {"_target_": "own_parts.Own"}) for key in ("task", "data", "model", "backend")),
        *((key, {"_target_": "own_parts.Fields"}) for key in ("model", "task.metrics.own")),
        ("data.generator", {"_target_": "own_parts.own", "_partial_": True}),
        ("optimizer", {"_target_": "own_parts.Own", "_partial_": True}),
        ("scheduler", {"_target_": "own_parts.own", "_partial_": True}),
    ],
)
def test_every_kind_of_component(key: str, node: dict[str, Any]) -> None:
    assert complaint(key, {**node, "size": 3}) == f"{key}.size=3: must be at least 4"
    assert f"{key}.size='x': expected a whole number" in complaint(key, {**node, "size": "x"})
    unknown = complaint(key, {**node, "size": 4, "siez": 4})
    assert unknown.startswith(f"{key}.siez=4: {node['_target_']} takes no such argument; allowed: ")
    assert unknown.endswith("did you mean 'size'?")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("share", 1, "must be less than 1"),
        ("share", -0.5, "must be at least 0"),
        ("share", "much", "expected a number or null"),
        ("share", float("nan"), "must be at least 0"),
        ("how", "kepe", "allowed: drop, keep; did you mean 'keep'?"),
        ("names", "a", "expected a list of texts, such as [a,b]"),
        ("names", [["a"]], "expected a list of texts, such as [a,b]"),
        ("flag", 7, "expected true or false"),
        ("flag", 0.5, "expected true or false"),
        ("sizes", [1, 0], "must be more than 0"),
        ("sizes", [1, "x"], "expected a list of whole numbers"),
        ("weights", {"a": "x"}, "expected a mapping to numbers or null"),
        ("pair", [1], "expected a list of whole numbers"),
        ("pair", [1, 2, 3], "expected a list of whole numbers"),
        ("auto", "atuo", "expected a whole number or auto"),
        ("auto", 63, "must be at least 64"),
        ("aliased", 3, "must be at least 4"),
        ("count", 1.5, "expected a whole number or null"),
    ],
)
def test_a_wrong_value(name: str, value: Any, message: str) -> None:
    said = complaint("backend", {"_target_": "own_parts.Own", name: value})
    assert said == f"backend.{name}={value!r}: {message}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("share", value) for value in (None, 0.0, 0.99)),
        *(("auto", value) for value in ("auto", 64)),
        *(("how", "keep"), ("flag", True), ("sizes", [1, 2]), ("weights", {"a": 0.5})),
        *(("pair", [1, 2]), ("aliased", None), ("aliased", 4), ("count", None)),
        *(("other", "not judged"), ("other", [{"a": 1}]), ("foreign", 9)),
    ],
)
def test_a_right_value(name: str, value: Any) -> None:
    assert complaint("backend", {"_target_": "own_parts.Own", name: value}) == ""


def test_a_value_takes_the_type_of_its_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZE", "7")
    typed = ["backend._target_=own_parts.Own", "+backend.size=${oc.env:SIZE}", "+backend.share=0"]
    cfg = composed(*typed, "+backend.names=[1_0]")
    check(cfg, typed)
    assert repr(cfg.backend.size) == "7"
    assert repr(cfg.backend.share) == "0.0"
    assert cfg.backend.names == ["1_0"]


def test_settings_that_are_handed_on_are_those_of_the_base_class() -> None:
    base = signature_of("expkit.tasks.text_classification.TextClassification")
    own = signature_of("own_parts.Smoothed")
    assert base is not None
    assert own is not None
    assert own.kinds.items() > base.kinds.items()
    assert set(own.required) == {"smoothing", *base.required}
    assert not own.takes_any
    assert signature_of("own_parts.Inherited") == own
    twice = signature_of("own_parts.Twice")
    assert twice is not None
    assert list(twice.kinds)[:2] == ["max_length", "label_column"]
    assert set(base.kinds) - {"label_column"} == set(twice.kinds) - {"label_column"}
    assert "smoothing" not in twice.kinds, "the class itself gives it"


@pytest.mark.parametrize("name", ["Popped", "Kept"])
def test_settings_that_are_used_otherwise_take_anything(name: str) -> None:
    own = signature_of(f"own_parts.{name}")
    assert own is not None
    assert own.takes_any


def test_a_task_that_adds_a_setting() -> None:
    task: Any = OmegaConf.to_container(composed().task, resolve=True)
    node = {**task, "_target_": "own_parts.Smoothed", "smoothing": 0.1}
    assert complaint("task", node) == ""
    assert complaint("task", {**node, "max_length": -1}) == "task.max_length=-1: must be at least 4"
    assert "task.smoothing=2: must be less than 1" in complaint("task", {**node, "smoothing": 2})
    assert "did you mean 'smoothing'" in complaint("task", {**node, "smoothign": 0.1})
    left_out = {key: value for key, value in node.items() if key != "labels"}
    assert "task.labels: required by own_parts.Smoothed" in complaint("task", left_out)


def test_ranges_of_torch_hold_for_classes_that_are_made_of_its_own() -> None:
    node = {"_target_": "own_parts.Adam", "_partial_": True, "lr": 0}
    assert complaint("optimizer", node) == "optimizer.lr=0: must be more than 0"
    node = {**node, "lr": 1, "betas": [0.9, 1.0]}
    assert complaint("optimizer", node) == "optimizer.betas=[0.9, 1.0]: must be less than 1"


def test_what_expkit_gives_cannot_be_given() -> None:
    node = {"_target_": "torch.optim.SGD", "_partial_": True, "params": []}
    assert complaint("optimizer", node).startswith("optimizer.params=[]: torch.optim.SGD takes no")
    node = {"_target_": "own_parts.Loose", "_partial_": True, "params": [], "total_steps": 3}
    assert complaint("optimizer", node).startswith("optimizer.params=[]: own_parts.Loose takes no")
    assert complaint("optimizer", {k: v for k, v in node.items() if k != "params"}) == ""
    node = {"_target_": "own_parts.own", "_partial_": True, "total_steps": 3}
    assert complaint("scheduler", node).startswith("scheduler.total_steps=3: own_parts.own takes")


def test_fields_of_dataclasses() -> None:
    own = signature_of("own_parts.MoreFields")
    assert own is not None
    assert list(own.kinds) == ["size", "names", "share"]
    assert own.required == ("size",)


@pytest.mark.parametrize("name", ["Lengthy", "Below"])
def test_a_range_that_would_not_count_is_refused(name: str) -> None:
    said = complaint("backend", {"_target_": f"own_parts.{name}", "name": "long enough"})
    assert said.endswith("its type has a range, and ranges are for numbers alone")


@pytest.mark.parametrize("name", ["Mixed", "Computed"])
def test_where_reading_is_not_enough_the_class_is_imported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_mixed.py").write_text(
        "from typing import Annotated\nfrom expkit.config.constraints import at_least\n"
        "class A: ...\nclass B:\n    def __init__(self, size: Annotated[int, at_least(4)]): ...\n"
        "class Mixed(A, B): ...\n"
        "class Computed:\n    def __init__(self, size: Annotated[int, at_least(2 * 2)]): ...\n"
    )
    target = f"own_mixed.{name}"
    assert signature_of(target) is None
    monkeypatch.delitem(sys.modules, "own_mixed", raising=False)
    cfg = composed(f"backend._target_={target}", "+backend.size=3")
    with pytest.raises(ConfigError, match=r"backend\.size=3: must be at least 4"):
        check(cfg, [f"backend._target_={target}"])


def test_a_config_error_imports_nothing_heavy() -> None:
    code = (
        "import sys; from expkit.config.signatures import signature_of; import expkit.config.checks;"
        "[signature_of(f'expkit.{name}') for name in"
        " ('tasks.masked_lm.MaskedLM', 'models.scratch.TinyBert', 'models.seq2seq.TinyT5')];"
        "sys.exit(bool({'torch', 'numpy', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        ("Annotated[int, at_least]", 5, "says at_least without a bound; write at_least"),
        ('Annotated[int, at_least("four")]', 5, "a bound of a range is 'four'; expected a number"),
        ("Annotated[int, at_least(LOW)]", 1, "must be at least 4"),
        (
            "Annotated[int, at_least(LOW)] = 4, opt: int | None = None",
            "x",
            "expected a whole number",
        ),
    ],
)
def test_a_range_that_is_written_otherwise(
    annotation: str, value: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_{abs(hash(annotation))}"
    head = "from typing import Annotated\nfrom expkit.config.constraints import at_least\nLOW = 2 + 2\n"
    code = f"class Own:\n    def __init__(self, optimizer, n: {annotation}): ...\n"
    (tmp_path / f"{name}.py").write_text(head + code)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = composed()
    key = "opt" if "opt:" in annotation else "n"
    with open_dict(cfg):
        cfg.backend = OmegaConf.create({"_target_": f"{name}.Own", "optimizer": 1, key: value})
    with pytest.raises(ConfigError, match=message):
        check(cfg, [f"backend._target_={name}.Own"])
