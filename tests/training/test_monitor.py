"""Evaluation when it is due, the best weights, early stopping."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import nn

from expkit.data.steps import Steps
from expkit.terminal.display import Progress
from expkit.terminal.errors import UserError
from expkit.training.interface import StepResult
from expkit.training.monitor import Monitor


class Scene:
    """A model whose weight is the number of the step, and evaluations with given scores."""

    def __init__(self, folder: Path, scores: Sequence[float], **changes: Any) -> None:
        self.model = nn.Linear(1, 1)
        self.logged: list[tuple[int, dict[str, float]]] = []
        scores_left = iter(scores)
        objective = changes.pop("objective", "eval/f1")
        self.steps = steps = Steps(
            Dataset.from_dict({"id": range(40)}),
            [1] * 40,
            lambda examples, generator: {},
            batch_size=10,
            accumulation=1,
            epochs=3,
            max_steps=None,
            group_by_length=False,
            seed=0,
        )
        settings = {
            "eval_every": None,
            "log_every": 2,
            "patience": None,
            "direction": "maximize",
            **changes,
        }
        self.monitor = Monitor(
            self.model,
            steps,
            lambda: {"eval/loss": 0.0, "eval/f1": 0.0, objective: next(scores_left)},
            lambda metrics, step: self.logged.append((step, metrics)),
            Progress(len(steps)),
            objective=objective,
            best_file=folder / "best.safetensors",
            **settings,
        )
        self.total = len(steps)

    def train(self, losses: Mapping[int, float] | None = None) -> int:
        """Carry out the steps, with losses of 1 but for the given ones; returns how many it took."""
        for done in range(1, self.total + 1):
            with torch.no_grad():
                self.model.weight.fill_(done)
            loss = torch.tensor((losses or {}).get(done, 1.0))
            result = StepResult(done, loss, torch.tensor(1.0), 0.1, 10)
            if self.monitor.on_step(result):
                break
        return done

    def evaluated(self) -> list[int]:
        return [step for step, metrics in self.logged if "eval/loss" in metrics]


def test_evaluates_after_each_epoch_and_keeps_the_best(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.5, 0.9, 0.7])
    assert scene.train() == 12
    assert scene.evaluated() == [4, 8, 12]
    assert scene.monitor.best_step == 8
    scene.monitor.restore_best()
    assert scene.model.weight.item() == 8


@pytest.mark.parametrize(("direction", "best"), [("minimize", 8), ("maximize", 12)])
@pytest.mark.parametrize(
    "name", ["perplexity", "f1_Cancer", "mae", "lossless", "error_rate", "f1_A&B"]
)
def test_the_direction_decides_and_not_the_name(
    tmp_path: Path, name: str, direction: str, best: int
) -> None:
    scene = Scene(tmp_path, [0.5, 0.2, 0.7], objective=f"eval/{name}", direction=direction)
    scene.train()
    assert scene.monitor.best_step == best


def test_evaluates_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.1, 0.2, 0.3], eval_every=5)
    scene.train()
    assert scene.evaluated() == [5, 10, 12]


def test_what_a_longer_run_gets_holds_nothing_that_the_end_has_caused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.1, 0.2, 0.3], eval_every=5, log_every=5)
    kept: list[tuple[int, float, int, list[int]]] = []

    def keep(done: int) -> None:
        memory = scene.monitor.memory()
        kept.append((done, memory["best"], len(memory["losses"]), scene.evaluated()))

    scene.monitor.keep_common = keep
    scene.train()
    assert kept[-1] == (12, 0.2, 2, [5, 10])
    assert scene.monitor.memory()["best"] == 0.3


def test_what_training_starts_from_is_step_0_and_may_be_the_best(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.9, 0.5, 0.7, 0.6])
    with torch.no_grad():
        scene.model.weight.fill_(-1)
    scene.monitor.on_start()
    scene.train()
    assert scene.evaluated() == [0, 4, 8, 12]
    assert scene.monitor.best_step == 0
    scene.monitor.restore_best()
    assert scene.model.weight.item() == -1


@pytest.mark.parametrize("start", [0.1, 0.9, float("nan")])
def test_evaluating_at_the_start_uses_no_patience(tmp_path: Path, start: float) -> None:
    scene = Scene(tmp_path, [start, 0.5, 0.4, 0.3, 0.2], eval_every=2, patience=2)
    scene.monitor.on_start()
    assert scene.train() == (4 if start == 0.9 else 6), "two evaluations without a better one"


def test_the_rate_does_not_count_the_evaluation_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 105.0, *range(106, 200)])
    monkeypatch.setattr("expkit.training.monitor.time.perf_counter", lambda: float(next(clock)))
    scene = Scene(tmp_path, [0.5, 0.5, 0.5, 0.5], log_every=1)
    scene.monitor.on_start()
    scene.train()
    first = next(m for step, m in scene.logged if "train/samples_per_second" in m)
    assert first["train/samples_per_second"] == pytest.approx(10 / 101)


def test_stops_when_patience_is_used_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.5, 0.4, 0.6, 0.6, 0.6], eval_every=2, patience=2)
    assert scene.train() == 10
    assert scene.monitor.best_step == 6


def test_logs_the_mean_loss_of_the_steps_since_the_last_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.5, 0.9, 0.7], log_every=5)
    scene.train()
    training = [(step, m["train/loss"]) for step, m in scene.logged if "train/loss" in m]
    assert training == [(5, 1.0), (10, 1.0), (12, 1.0)]


def test_an_objective_that_the_task_does_not_compute_is_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.5], objective="eval/f1")
    scene.monitor.objective = "eval/f2"
    with pytest.raises(UserError, match=r"objective='eval/f2'.*did you mean 'eval/f1'"):
        scene.train()


def test_a_further_set_decides_if_the_objective_names_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [0.5, 0.9, 0.7, 0.6], objective="june/f1")
    scene.train()
    assert scene.monitor.best_step == 8
    curves = [metrics for _, metrics in scene.logged if "eval/loss" in metrics]
    assert [metrics["eval.june/f1"] for metrics in curves] == [0.5, 0.9, 0.7]
    assert {metrics["eval/f1"] for metrics in curves} == {0.0}
    assert not any("june/f1" in metrics for metrics in curves), "that is the name of the result"
    scene.monitor.objective = "june/f2"
    with pytest.raises(UserError, match=r"objective='june/f2'.*did you mean 'june/f1'"):
        scene.monitor.on_start()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    kept: list[int] = []
    scene = Scene(tmp_path, [0.5, 0.6], log_every=5, keep=kept.append, keep_every=3)
    examples = ", ".join(str(i) for batch in scene.steps.indices(7 - 1) for i in batch)
    wrong = (
        "training has diverged: train/loss is inf at step 7 of 12; the last checkpoint is of step 6"
    )
    with pytest.raises(UserError, match=re.escape(wrong)) as raised:
        scene.train({7: float("inf"), 8: float("nan")})
    assert f"the training examples {examples} (" in str(raised.value)
    assert kept == [3, 6]  # none with what came of it
    assert scene.evaluated() == [4]


def test_asked_to_stop_it_finishes_the_step_and_keeps_it(tmp_path: Path) -> None:
    kept: list[int] = []
    scene = Scene(tmp_path, [0.5, 0.6], keep=kept.append, must_stop=lambda: scene.monitor.done == 6)
    with pytest.raises(KeyboardInterrupt):
        scene.train()
    assert kept == [4, 6]
    assert [step for step, metrics in scene.logged if "train/loss" in metrics] == [2, 4, 6]
