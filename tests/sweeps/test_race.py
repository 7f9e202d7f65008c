"""Races: which seeds they run, when they drop a configuration, and when they end."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from conftest import hydra
from expkit.comparison.paired import Resampled, statistics_of
from expkit.comparison.verdict import Candidate, Verdict, verdict
from expkit.metrics.classification import Accuracy
from expkit.metrics.outcomes import Outcomes
from expkit.sweeps.plan import PlannedJob
from expkit.sweeps.race import ERROR, decide, level, planned
from expkit.terminal.errors import ConfigError

EXAMPLES = 400


def race(*combinations: list[str], most: int = 3) -> dict[str, list[PlannedJob]]:
    with hydra() as (loader, master):
        return planned(loader, master, combinations, most)


def seeds_of(jobs: Sequence[PlannedJob]) -> list[int]:
    return [job.config["seed"] for job in jobs]


def test_the_seeds_are_those_that_were_typed_or_follow_that_of_the_configuration() -> None:
    two = (["optimizer=adamw"], ["optimizer=sgd"])
    assert {name: seeds_of(jobs) for name, jobs in race(*two, most=2).items()} == {
        "optimizer=adamw": [42, 43],
        "optimizer=sgd": [42, 43],
    }
    started_at = race(*([*one, "seed=7"] for one in two), most=2)
    assert [seeds_of(jobs) for jobs in started_at.values()] == [[7, 8], [7, 8]]
    typed = race(*([f"seed={s}", *one] for one in two for s in (5, 1, 9)), most=2)
    assert [seeds_of(jobs) for jobs in typed.values()] == [[5, 1], [5, 1]]


@pytest.mark.parametrize(
    ("combinations", "most", "message"),
    [
        ([["optimizer=sgd"]], 3, "one configuration has no rival"),
        ([["seed=1"], ["seed=2"]], 3, "one configuration has no rival"),
        ([["optimizer=sgd"], ["optimizer=adam"]], 1, "max_seeds=1: must be a whole number"),
        ([["optimizer=sgd"], ["optimizer=adam"]], None, "max_seeds=None: must be a whole number"),
        ([["objective=eval/f1"], ["objective=eval/accuracy"]], 2, "tasks or objectives differ"),
        ([["objective=eval/loss", f"optimizer={o}"] for o in ("sgd", "adam")], 2, "eval/loss: is no score .* such as accuracy"),
    ],
)  # fmt: skip
def test_what_cannot_race_is_refused(
    combinations: list[list[str]], most: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        race(*combinations, most=most)


def test_folds_cannot_race(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "label": 1}\n' * 9)
    data = ("data=files", f"data.train_file={tmp_path}/all.jsonl", "data.folds=3")
    with pytest.raises(ConfigError, match="its jobs are single runs"):
        race(["optimizer=sgd", *data], ["optimizer=adam", *data], most=2)


def test_the_looks_spend_the_error_once() -> None:
    for seeds in (2, 3, 8):
        spent = [1 - level(count, seeds) for count in range(2, seeds + 1)]
        assert sum(spent) == pytest.approx(ERROR)
        assert spent == sorted(spent, reverse=True)


class Simulated:
    """Configurations that are right on an example with a probability of their own, and fail now and then."""

    def __init__(
        self, rates: Mapping[str, float], failures: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.rates, self.failures = rates, failures
        self.rounds: list[list[str]] = []
        self.hard = [random.Random(0).random() for _ in range(EXAMPLES)]

    def run(self, left: Sequence[str], k: int) -> dict[str, tuple[int, Resampled]]:
        self.rounds.append(list(left))
        return {name: (k, self._run(name, k)) for name in left if (name, k) not in self.failures}

    def _run(self, name: str, k: int) -> Resampled:
        drawn = random.Random(f"{name} {k}")
        right = [h + drawn.gauss(0, 0.1) < self.rates[name] for h in self.hard]
        outcomes = Outcomes("same", ["accuracy"], [int(r) for r in right], [1] * EXAMPLES)
        return statistics_of(Accuracy(), outcomes)

    def judge(self, runs: Mapping[str, Sequence[tuple[int, Resampled]]], level: float) -> Verdict:
        found = [Candidate(name, *zip(*made, strict=True)) for name, made in runs.items()]
        return verdict(found, "accuracy", "maximize", level=level)

    def race(self, seeds: int = 4, margin: float | None = None) -> dict[str, str]:
        return decide(self.rates, seeds, margin, self.run, self.judge)[0]


def test_what_is_worse_gets_no_further_seeds_and_a_winner_ends_the_race() -> None:
    simulated = Simulated({"good": 0.9, "bad": 0.6, "awful": 0.3})
    dropped = simulated.race()
    assert simulated.rounds == [["good", "bad", "awful"]] * 2, "one seed drops nothing"
    assert list(dropped) == ["bad", "awful"]
    assert dropped["bad"].startswith("dropped after 2 seeds: good is better: accuracy +0.")


def test_equals_use_all_seeds_unless_a_margin_ends_the_race() -> None:
    rates = {"one": 0.8, "other": 0.8, "bad": 0.5}
    simulated = Simulated(rates)
    assert list(simulated.race()) == ["bad"]
    assert simulated.rounds == [["one", "other", "bad"]] * 2 + [["one", "other"]] * 2
    within = Simulated(rates)
    assert list(within.race(margin=0.1)) == ["bad"]
    assert len(within.rounds) == 2


def test_a_failed_run_costs_a_seed_and_a_configuration_without_any_its_place() -> None:
    simulated = Simulated({"one": 0.8, "other": 0.8, "broken": 0.9}, [("other", 1), ("broken", 0)])
    assert simulated.race() == {"broken": "dropped: no run has finished"}
    assert simulated.rounds == [["one", "other", "broken"]] + [["one", "other"]] * 3
