"""`precision=auto` times fp32 and bf16 and takes the faster one, without leaving a trace on the run."""

import dataclasses
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import DebertaConfig, DebertaForSequenceClassification

from conftest import SMALL_TASKS, TINY, composed, only_run
from expkit.commands.reproduce import _again
from expkit.experiment import Prepared, prepare, run
from expkit.processes.context import VARIABLE, JobContext
from expkit.terminal.errors import ConfigError
from expkit.tracking.logged import logged_run
from expkit.tracking.run import open_run
from expkit.training import auto_precision
from expkit.training.auto_precision import Trial, settle

AUTO = tuple(option for option in TINY if option != "precision=fp32")


@pytest.fixture(autouse=True)
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine the tests run on."""
    monkeypatch.setattr(auto_precision, "has_fast_bf16", lambda: True)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials that were timed; on a clock where each candidate takes its known time."""
    timed: list[Trial] = []
    real = auto_precision._timed

    def spied(trial: Trial) -> auto_precision.Figures:
        timed.append(trial)
        return real(trial)

    monkeypatch.setattr(auto_precision, "_timed", spied)
    return timed


def takes(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Steps are carried out, but what they took is given."""
    real = auto_precision._step

    def step(trial: Trial, name: str, batch: Any) -> float:
        real(trial, name, batch)
        return seconds[name]

    monkeypatch.setattr(auto_precision, "_step", step)


def trial_of(prepared: Prepared) -> Trial:
    training = prepared.training
    return Trial(training.model, prepared.task, training.steps)


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_the_faster_one_is_taken_and_both_are_said(
    faster: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    takes(monkeypatch, **{"fp32": 0.2, "bf16": 0.2, faster: 0.1})
    prepared = prepare(composed(*AUTO, "lora=none"))
    assert prepared.training.precision == faster
    assert prepared.training.model.config._attn_implementation == (
        "eager" if faster == "bf16" and not torch.cuda.is_available() else "sdpa"
    )
    printed = capsys.readouterr().out
    figures = {"fp32": 40, "bf16": 40, faster: 80}
    assert f"precision=auto: {faster}; " in printed
    assert f"fp32 {figures['fp32']} samples/s, bf16 {figures['bf16']} samples/s" in printed


def test_hardware_that_only_emulates_bf16_is_not_timed(
    project: Path, monkeypatch: pytest.MonkeyPatch, timings: list[Trial]
) -> None:
    monkeypatch.setattr(auto_precision, "has_fast_bf16", lambda: False)
    assert prepare(composed(*AUTO)).training.precision == "fp32"
    assert not timings


def test_what_was_timed_is_remembered_by_model_and_shape(
    project: Path, timings: list[Trial]
) -> None:
    for _ in range(2):
        prepare(composed(*AUTO))
        assert len(timings) == 1
    prepare(composed(*AUTO, "seed=7"))
    assert len(timings) == 1, "the batches are others, their shape is not"
    for number, change in enumerate(("train.batch_size=4", "lora=none", "model.layers=1"), start=2):
        prepare(composed(*AUTO, change))
        assert len(timings) == number, change
    for file in (project / "outputs" / "cache" / "precision").glob("*.json"):
        file.write_text("{")  # damaged: timed once more
    prepare(composed(*AUTO))
    assert len(timings) == 5


def losses(*overrides: str, task: str) -> Iterator[Any]:
    """Of some steps, then the weights and buffers."""
    options = [o for o in SMALL_TASKS[task] if o != "precision=fp32"]
    torch.manual_seed(5)  # what is drawn before the first step must not matter either
    prepared = prepare(composed(*options, "train.max_steps=4", *overrides))
    yield torch.rand(3)
    yield prepared.training.model.training
    yield prepared.training.model.config.to_dict()
    seen: list[torch.Tensor] = []
    prepared.backend.fit(prepared.training, lambda r: bool(seen.append(r.loss)))
    yield from seen
    yield from prepared.training.model.state_dict().values()
    yield from prepared.training.model.buffers()


@pytest.mark.parametrize(
    ("task", "lora"),
    [*((task, "attention") for task in SMALL_TASKS), ("text_classification", "none")],
)
def test_a_run_is_the_one_with_that_precision_given(
    task: str, lora: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for taken, other in (("fp32", "bf16"), ("bf16", "fp32")):
        takes(monkeypatch, **{taken: 0.1, other: 0.2})
        monkeypatch.setattr(auto_precision, "_once", lambda file, make: make())
        given = list(losses(f"precision={taken}", f"lora={lora}", task=task))
        found = list(losses("precision=auto", f"lora={lora}", task=task))
        assert len(given) == len(found)
        for one, two in zip(given, found, strict=True):
            assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


class Counting(torch.nn.Module):
    """Counts its calls in a buffer, in training mode alone."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + int(self.training)
        return self.layer(inputs)


def test_buffers_modes_and_gradients_are_as_before(project: Path) -> None:
    prepared = prepare(composed(*TINY, "lora=none"))
    model = prepared.training.model
    model.classifier = Counting(model.classifier)
    model.eval()
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    settle("auto", trial_of(prepared))
    assert model.classifier.calls == 0
    assert not any(module.training for module in model.modules())
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert all(p.grad is None for p in model.parameters())


class Growing(torch.nn.Module):
    """Keeps a longer table after its first call, as computed positions do, and one more."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("table", torch.ones(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.register_buffer("table", torch.zeros(3))
        self.register_buffer("other", torch.zeros(3))
        return self.layer(inputs)


def test_buffers_that_a_model_replaces(project: Path) -> None:
    prepared = prepare(composed(*TINY, "lora=none"))
    model = prepared.training.model
    model.classifier = Growing(model.classifier)
    settle("auto", trial_of(prepared))
    assert model.classifier.table.tolist() == [1, 1]


@pytest.mark.parametrize("trouble", ["a file in place of the folder", "a lock that cannot be had"])
def test_a_cache_that_cannot_be_used_does_not_end_a_run(
    trouble: str, project: Path, monkeypatch: pytest.MonkeyPatch, timings: list[Trial]
) -> None:
    trial = trial_of(prepare(composed(*TINY, "lora=none")))
    folder = project / "outputs" / "cache" / "precision"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if trouble.startswith("a file"):
        folder.write_text("")
    else:
        (folder / "precision.lock").mkdir(parents=True)
    takes(monkeypatch, fp32=0.2, bf16=0.1)
    assert settle("auto", trial) == "bf16"
    assert len(timings) == 1


def test_a_model_that_cannot_work_in_bf16(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DeBERTa (v1) adds a float32 tensor to one of the autocast type."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = DebertaConfig(
        **sizes, vocab_size=2000, intermediate_size=16, relative_attention=True,
        pos_att_type=["c2p", "p2c"], position_biased_input=False,
    )  # fmt: skip
    prepared = prepare(composed(*TINY, "lora=none"))
    model = DebertaForSequenceClassification(config)
    trial = dataclasses.replace(trial_of(prepared), model=model)
    assert settle("auto", trial) == "fp32"
    printed = capsys.readouterr().out
    assert "precision=auto: fp32; " in printed
    assert "bf16 fails (RuntimeError: " in printed
    assert settle("bf16", trial) == "bf16", "what was typed counts"


class Overflows(torch.nn.Module):
    """Finite in fp32 alone."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out = self.layer(inputs)
        return out * (float("nan") if out.dtype == torch.bfloat16 else 1)


def test_a_loss_that_is_no_number_in_bf16(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(composed(*TINY, "lora=none"))
    prepared.training.model.classifier = Overflows(prepared.training.model.classifier)
    assert settle("auto", trial_of(prepared)) == "fp32"
    assert "bf16 fails (ArithmeticError: the loss is nan" in capsys.readouterr().out


def test_all_jobs_of_a_sweep_take_what_the_first_one_took(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, JobContext(sweep="a1").variables()[VARIABLE])
    takes(monkeypatch, fp32=0.2, bf16=0.1)
    assert prepare(composed(*AUTO)).training.precision == "bf16"
    takes(monkeypatch, fp32=0.1, bf16=0.2)
    assert prepare(composed(*AUTO, "train.batch_size=4")).training.precision == "bf16"
    prepared = prepare(composed(*AUTO, "lora=none", "precision=fp32"))
    assert prepared.training.precision == "fp32", "as typed"
    monkeypatch.setenv(VARIABLE, JobContext(sweep="b2").variables()[VARIABLE])
    assert prepare(composed(*AUTO, "train.batch_size=4")).training.precision == "fp32"
    capsys.readouterr()
    monkeypatch.setenv(VARIABLE, JobContext(sweep="a1").variables()[VARIABLE])
    prepared.training.model.classifier = Overflows(prepared.training.model.classifier)
    monkeypatch.setattr(auto_precision, "_figures", auto_precision._timed)
    assert settle("auto", trial_of(prepared)) == "fp32"
    assert (
        "because bf16, which this sweep uses, fails on this machine (ArithmeticError"
        in capsys.readouterr().out
    )


def test_a_run_that_goes_on_takes_what_it_took_the_first_time(
    project: Path, monkeypatch: pytest.MonkeyPatch, timings: list[Trial]
) -> None:
    options = (*AUTO, "train.max_steps=4", "train.eval_every=2", "tracking.log_model=false")

    def stop(share: float, value: float) -> bool:
        if share == 1:
            raise KeyboardInterrupt
        return True

    takes(monkeypatch, fp32=0.2, bf16=0.1)
    with pytest.raises(KeyboardInterrupt):
        run(composed(*options), {}, stop)
    killed = only_run(project)
    facts = json.loads((project / "outputs/runs" / killed.info.run_id / "facts.json").read_text())
    assert facts["precision"] == "bf16"
    assert killed.data.params["precision"] == killed.data.tags["precision"] == "bf16"

    shutil.rmtree(project / "outputs" / "cache" / "precision")  # elsewhere
    takes(monkeypatch, fp32=0.1, bf16=0.2)
    resume = f"resume={killed.info.run_id}"
    with pytest.raises(ConfigError, match="precision: 'bf16' then, 'fp32' now"):
        run(composed(*options, resume, "precision=fp32"), {})
    run(composed(*options, resume), {})
    assert len(timings) == 1
    finished = only_run(project)
    assert finished.info.status == "FINISHED"
    assert finished.data.tags["precision"] == "bf16"
    logged = logged_run(finished.info.run_id)
    assert logged.config.precision == "bf16", "so run.yaml and reproduce take it as well"
    again = composed(*options, "resume=auto")
    assert run(again, {}).objective == finished.data.metrics[again.objective], (
        "is found as what was asked for"
    )
    assert again.precision == "auto"


def test_runs_that_logged_auto_are_reproduced_in_what_they_took(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = composed(*AUTO).tracking
    with open_run(settings, "old", {"precision": "auto"}, resume="never") as tracked:
        tracked.start()
        plain = OmegaConf.to_container(composed(*AUTO), resolve=True)
        tracked.log_config(plain, plain)  # type: ignore[arg-type]
        tracked.tag("precision", "bf16")
    logged = logged_run(tracked.id)
    assert logged.config.precision == "auto"
    assert _again(logged, frozenset()).precision == "bf16"
