"""The jobs of a sweep: composed, checked, named by what they differ in."""

import pytest

from conftest import hydra
from expkit.sweeps.plan import PlannedJob, fingerprint_of, plan, quoted
from expkit.terminal.errors import ConfigError


def planned(*combinations: list[str]) -> list[PlannedJob]:
    with hydra() as (loader, master):
        return plan(loader, master, combinations)


def test_jobs_are_named_by_what_they_differ_in() -> None:
    jobs = planned(
        ["optimizer=adamw", "seed=1", "train.epochs=3"],
        ["optimizer=sgd", "seed=1", "train.epochs=3"],
    )
    assert [job.name for job in jobs] == ["optimizer=adamw", "optimizer=sgd"]
    assert [job.config["optimizer"]["_target_"] for job in jobs] == [
        "torch.optim.AdamW",
        "torch.optim.SGD",
    ]
    assert len({job.fingerprint for job in jobs}) == 2


def test_a_name_that_is_given_stands_first_and_long_ones_are_cut() -> None:
    (one,) = planned(["run_name=mine", "seed=1"])
    assert one.name == "mine"
    assert [
        job.name for job in planned(["run_name=mine", "seed=1"], ["run_name=mine", "seed=2"])
    ] == [
        "mine seed=1",
        "mine seed=2",
    ]
    long = ",".join(f"module_{i}" for i in range(40))
    jobs = planned([f"lora.target_modules=[{long}]"], ["lora.target_modules=[query]"])
    assert len(jobs[0].name) == 100
    assert jobs[0].name.endswith("… #0")


def test_the_only_job_of_a_sweep_has_the_name_of_a_run() -> None:
    (one,) = planned(["task=token_classification", "model.dropout=0.1", "seed=3"])
    assert one.name == "ner minilm lora-attention adamw s3"


@pytest.mark.parametrize(
    "name", ["it's", "a\\b", "end\\", "\\'", "x=[1,2] y={a:1}", 'say "so"', "日本語 ${seed}"]
)
def test_names_survive_as_an_override(name: str) -> None:
    """Hydra's grammar for quoted values; interpolations belong to the configuration."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(f"run_name={quoted(name)}")
    assert parsed.value() == name


def test_problems_of_all_jobs_are_said_once() -> None:
    with pytest.raises(ConfigError) as raised:
        planned(
            ["optimizer.lr=fast", "train.epochs=0"],
            ["optimizer.lr=1e-3", "train.epochs=0"],
            ["optimizer=adamx"],
        )
    message = str(raised.value)
    assert message.count("train.epochs=0") == 1
    assert "optimizer.lr='fast'" in message
    assert "optimizer=adamx" in message


def test_the_same_job_runs_once(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = planned(["seed=1"], ["seed=2"], ["seed=1"])
    assert [job.name for job in jobs] == ["seed=1", "seed=2"]
    assert "1 jobs are the same as others" in capsys.readouterr().out


def test_a_sweep_has_one_store() -> None:
    with pytest.raises(ConfigError, match="tracking: has to be the same for all jobs"):
        planned(["tracking.experiment=a"], ["tracking.experiment=b"])


def test_a_sweep_is_known_by_its_jobs_in_any_order() -> None:
    one = planned(["seed=1"], ["seed=2"])
    other = planned(["seed=2"], ["seed=1"])
    more = planned(["seed=1"], ["seed=2"], ["seed=3"])
    assert fingerprint_of(one) == fingerprint_of(other) != fingerprint_of(more)
