"""Which way a score gets better: the class of its metric or the configuration says it, never its name."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf, open_dict

from conftest import composed
from expkit.config.checks import check
from expkit.config.direction import direction_of
from expkit.config.fingerprint import fingerprint
from expkit.terminal.errors import ConfigError

METRICS = """
import evaluate
import datasets as hf
from expkit.metrics.classification import Accuracy


class Less(evaluate.Metric):
    direction = "minimize"


class More(evaluate.Metric):
    direction: str = "maximize"


class Child(Less):
    pass


class Turned(Child):
    direction = "maximize"


class Several(evaluate.Metric):
    direction = {"recall": "maximize", "miss": "minimize"}


class Silent(evaluate.Metric):
    pass


class Wrong(evaluate.Metric):
    direction = "lower"


class ByExpkit(Accuracy):
    pass


class Accuracy(Accuracy):
    direction = "minimize"


class Up(evaluate.Metric):
    direction = "maximize"


class Down(Up):
    direction = "minimize"


class Plain(Up):
    pass


class Diamond(Plain, Down):
    pass


if evaluate:
    class Chosen(evaluate.Metric):
        direction = "minimize"
else:
    class Chosen(evaluate.Metric):
        direction = "maximize"


class Branched(Up):
    direction = "maximize"
    if evaluate:
        direction = "minimize"


def turned(cls):
    cls.direction = "minimize"
    return cls


@turned
class Decorated(evaluate.Metric):
    direction = "maximize"


class Later(Up):
    pass


Later.direction = "minimize"


class Twice(evaluate.Metric):
    direction = "minimize"
    direction = "maximize"


class Guarded(ByExpkit):
    @property
    def direction(self):
        return "minimize"


WORD = "minimize"


class Computed(evaluate.Metric):
    direction = WORD
"""
TAGS = "task=token_classification"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_metrics", raising=False)


def config(*overrides: str) -> Mapping[str, Any]:
    plain = OmegaConf.to_container(composed(*overrides), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def checked(*overrides: str) -> Any:
    cfg = composed(*overrides)
    check(cfg, list(overrides))
    return cfg


@pytest.mark.parametrize(
    "objective",
    ["f1", "f1_Cancer", "f1_Officer", "f1_Letter", "f1_error", "f1_loss", "f1_A&B", "accuracy"],
)
def test_the_score_of_a_type_follows_its_metric(objective: str) -> None:
    assert checked(TAGS, f'objective="eval/{objective}"').direction == "maximize"


@pytest.mark.parametrize(
    ("task", "direction"),
    [
        ("text_classification", "maximize"),
        ("token_classification", "maximize"),
        ("masked_lm", "minimize"),
        ("text_regression", "maximize"),
        ("translation", "maximize"),
    ],
)
def test_every_task_says_it(task: str, direction: str) -> None:
    assert checked(f"task={task}").direction == direction
    assert checked(f"task={task}", "objective=eval/loss").direction == "minimize"


@pytest.mark.parametrize(
    ("name", "metric", "direction"),
    [
        *((name, "Less", "minimize") for name in ("mae", "mse", "nll", "brier", "error_rate")),
        *((name, "More", "maximize") for name in ("wer", "cer", "lossless", "reader", "inter")),
        ("x", "Child", "minimize"),
        ("x", "Turned", "maximize"),
        ("x", "ByExpkit", "maximize"),
        ("x", "Accuracy", "minimize"),
        ("x", "Computed", "minimize"),
        ("x", "Twice", "maximize"),
        *(("x", m, "minimize") for m in ("Diamond", "Chosen", "Branched", "Decorated", "Later")),
        ("recall", "Several", "maximize"),
        ("miss", "Several", "minimize"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_metric_of_ones_own_says_it(name: str, metric: str, direction: str) -> None:
    key = "both" if metric == "Several" else name
    options = (f"+task.metrics.{key}._target_=own_metrics.{metric}", f"objective=eval/{name}")
    assert checked(*options).direction == direction
    assert checked(*options, f"direction={direction}").direction == direction


@pytest.mark.parametrize("name", ["wer", "perplexity", "loss_of_x", "mae", "accuracy_of_x"])
@pytest.mark.usefixtures("own")
def test_a_metric_that_says_nothing_is_refused_as_objective_alone(name: str) -> None:
    metric = f"+task.metrics.{name}._target_=own_metrics.Silent"
    message = (
        rf"objective='eval/{name}'.*direction=minimize or direction=maximize.*own_metrics\.Sil"
    )
    with pytest.raises(ConfigError, match=message):
        checked(metric, f"objective=eval/{name}")
    for direction in ("minimize", "maximize"):
        cfg = checked(metric, f"objective=eval/{name}", f"direction={direction}")
        assert cfg.direction == direction
    assert checked(metric).direction == "maximize"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("direction=minimize",), r"direction=minimize: .*F1 says maximize for eval/f1"),
        (("objective=eval/loss", "direction=maximize"), "says minimize for eval/loss"),
        (("+task.metrics.x.names=[a]", "objective=eval/a"), "task.metrics.x=.*needs a _target_"),
        (("direction=max",), "direction='max': allowed: minimize, maximize"),
        (
            ("+task.metrics.x._target_=own_metrics.Wrong", "objective=eval/x"),
            r"Wrong\.direction='lower': allowed",
        ),
        (
            ("+task.metrics.x._target_=own_metrics.Guarded", "objective=eval/x"),
            r"Guarded\.direction=<property.*>: allowed: minimize, maximize",
        ),
        (
            ("+task.metrics.x._target_=own_metrics.Several", "objective=eval/recall_A"),
            "nothing says whether less or more of it is better",
        ),
    ],
)
@pytest.mark.usefixtures("own")
def test_what_does_not_fit_is_one_message(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        checked(*options)
    assert len(raised.value.problems) == 1


def test_a_task_without_metrics_needs_it_to_be_typed() -> None:
    task = {"task": {"_target_": "mine.Task"}, "objective": "eval/score"}
    with pytest.raises(ConfigError, match="direction=minimize or direction=maximize"):
        direction_of(task)
    assert direction_of({**task, "direction": "minimize"}) == "minimize"
    assert direction_of({**task, "objective": "eval/loss"}) == "minimize"


def test_the_longest_name_decides_whose_a_score_is() -> None:
    metrics = {
        "f1": {"_target_": "expkit.metrics.classification.F1"},
        "f1_error": {"_target_": "expkit.metrics.language_modeling.Perplexity"},
    }
    for score, direction in (("f1", "maximize"), ("f1_error", "minimize"), ("f1_x", "maximize")):
        given = {"task": {"metrics": metrics}, "objective": f"eval/{score}"}
        assert direction_of(given) == direction


def test_a_run_is_the_same_whether_the_direction_of_its_metric_was_typed() -> None:
    logged_before = composed()
    with open_dict(logged_before):
        del logged_before["direction"]
    check(logged_before, [])
    cfgs = [checked(), checked("direction=maximize"), logged_before]
    prints = {fingerprint(OmegaConf.to_container(cfg, resolve=True)) for cfg in cfgs}  # type: ignore[arg-type]
    assert len(prints) == 1


@pytest.mark.usefixtures("own")
def test_the_direction_of_a_silent_metric_counts() -> None:
    silent = ("+task.metrics.x._target_=own_metrics.Silent", "objective=eval/x")
    cfgs = [checked(*silent, f"direction={word}") for word in ("minimize", "maximize")]
    prints = {fingerprint(OmegaConf.to_container(cfg, resolve=True)) for cfg in cfgs}  # type: ignore[arg-type]
    assert len(prints) == 2


@pytest.mark.usefixtures("own")
def test_nothing_is_imported_to_read_it(tmp_path: Path) -> None:
    code = (
        "import sys; from expkit.config.direction import direction_of;"
        "t = {'metrics': {n: {'_target_': f'own_metrics.{n}'} for n in ('Silent', 'Child')}};"
        "print(direction_of({'task': t, 'objective': 'eval/Child'}));"
        "sys.exit(bool({'own_metrics', 'evaluate', 'datasets', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "minimize\n"), done.stderr
