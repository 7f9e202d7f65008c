"""Which jobs are one row of the table, and which parameters tell rows apart."""

from dataclasses import replace
from typing import Any

import pytest

from expkit.comparison.groups import (
    ComparedRun,
    best_of,
    grouped,
    metrics_to_show,
    require_scored,
    short_names,
)
from expkit.comparison.report import _legend, grid
from expkit.terminal.errors import UserError

ADAMW = {"optimizer._target_": "torch.optim.AdamW", "optimizer.lr": "0.001", "optimizer.betas": "b"}
SGD = {"optimizer._target_": "torch.optim.SGD", "optimizer.lr": "0.1", "optimizer.momentum": "0.9"}
TASK = {
    "task._target_": "expkit.Text",
    "objective": "eval/f1",
    "direction": "maximize",
    "train.epochs": "2",
}


def job(
    params: dict[str, str],
    seed: int = 1,
    state: str = "FINISHED",
    chosen: dict[str, str] | None = None,
    **scores: float,
) -> ComparedRun:
    whole = {**TASK, **params, "seed": str(seed), "tracking.uri": f"somewhere {seed}"}
    metrics = {f"final/{name}": value for name, value in scores.items()}
    return ComparedRun(f"s{seed}", f"id{seed}", state, "", whole, metrics, chosen or {})


def test_seeds_are_one_row_with_mean_and_sample_deviation() -> None:
    (group,) = grouped([job(ADAMW, seed, f1=value) for seed, value in enumerate((0.7, 0.8, 0.9))])
    assert group.mean("final/f1") == pytest.approx(0.8)
    assert group.deviation("final/f1") == pytest.approx(0.1)
    assert group.best_job.name == "s2"
    assert group.differing == {}


def test_one_seed_has_no_deviation() -> None:
    (group,) = grouped([job(ADAMW, f1=0.7)])
    assert group.deviation("final/f1") is None
    assert group.mean("final/absent") is None


def test_another_class_is_shown_by_name_and_without_what_only_it_takes() -> None:
    sgd, adamw = grouped([job(ADAMW, f1=0.7), job(SGD, f1=0.8)])
    assert sgd.differing == {"optimizer._target_": "SGD", "optimizer.lr": "0.1"}
    assert adamw.differing == {"optimizer._target_": "AdamW", "optimizer.lr": "0.001"}
    assert short_names(list(sgd.differing)) == ["optimizer", "lr"]


def test_the_overrides_of_a_sweep_are_shown_as_they_were_typed() -> None:
    groups = grouped(
        [
            job(ADAMW, 1, chosen={"optimizer": "adamw", "seed": "1"}, f1=0.7),
            job(ADAMW, 2, chosen={"optimizer": "adamw", "seed": "2"}, f1=0.7),
            job(SGD, 1, chosen={"optimizer": "sgd", "seed": "1"}, f1=0.8),
        ]
    )
    assert [group.differing for group in groups] == [{"optimizer": "sgd"}, {"optimizer": "adamw"}]


def test_overrides_that_do_not_tell_rows_apart_are_not_enough() -> None:
    """Two sweeps over the same values, with another model."""
    chosen = {"optimizer": "sgd"}
    groups = grouped(
        [job(SGD | {"model.path": p}, chosen=chosen, f1=0.7) for p in ("small", "large")]
    )
    assert [group.differing for group in groups] == [
        {"model.path": "small"},
        {"model.path": "large"},
    ]


@pytest.mark.parametrize("state", ["FAILED", "KILLED", "RUNNING"])
def test_only_finished_jobs_count(state: str) -> None:
    (group,) = grouped([job(ADAMW, 1, f1=0.7), job(ADAMW, 2, state, f1=0.1)])
    assert group.values("final/f1") == [0.7]


def test_each_task_has_its_best_and_brings_its_own_data_and_model() -> None:
    other = {"task._target_": "expkit.Tags", "train.epochs": "4", "task.stride": "32"}
    groups = grouped(
        [
            job({"optimizer.lr": "1"}, f1=0.7),
            job({"optimizer.lr": "2"}, f1=0.8),
            job({"optimizer.lr": "1", **other}, f1=0.3, recall=0.2),
            job({"optimizer.lr": "2", **other}, f1=0.2, recall=0.2),
        ]
    )
    assert list(groups[0].differing) == ["task._target_", "optimizer.lr"]
    assert [group.mean("final/f1") for group in best_of(groups)] == [0.8, 0.3]
    assert metrics_to_show(groups, []) == ["final/f1", "final/recall"]


def test_less_is_better_where_the_objective_says_so() -> None:
    objective = {"objective": "eval/perplexity", "direction": "minimize"}
    groups = grouped(
        [
            job({"optimizer.lr": lr, **objective}, perplexity=value)
            for lr, value in (("1", 12.0), ("2", 10.0), ("3", float("nan")))
        ]
    )
    assert [group.mean("final/perplexity") for group in groups[:2]] == [10.0, 12.0]
    assert best_of(groups) == [groups[0]]


def test_a_seed_that_was_run_twice_counts_once() -> None:
    groups = grouped([job(ADAMW, seed, f1=0.7 + seed / 10) for seed in (1, 2, 1)])
    assert [[j.name for j in group.jobs] for group in groups] == [["s1", "s2"], ["s1"]]


def test_changed_data_are_not_another_seed_and_shown_where_nothing_else_says_so() -> None:
    data = [{"data.train_file": "a.jsonl", "data.train_digest": digest} for digest in "12"]
    groups = grouped([job(params, seed, f1=0.7) for seed, params in enumerate(data)])
    assert [group.differing for group in groups] == [{"data.train_digest": d} for d in "12"]
    data[1]["data.train_file"] = "b.jsonl"
    groups = grouped([job(params, f1=0.7) for params in data])
    assert [list(group.differing) for group in groups] == [["data.train_file"]] * 2


def test_another_set_ranks_by_the_same_score_and_tells_its_contents_apart() -> None:
    made = [
        replace(
            job({"optimizer.lr": lr, **later}, f1=own), metrics={"final/f1": own, "june/f1": june}
        )
        for lr, own, june, later in (
            ("1", 0.9, 0.2, {"evaluated.june": "x"}),
            ("2", 0.8, 0.3, {"evaluated.june": "x"}),
            ("2", 0.8, 0.4, {"evaluated.june": "y"}),
        )
    ]
    assert len(grouped([*made[:2], replace(made[2], params={**made[2].params, "seed": "2"})])) == 2
    groups = grouped([each.on_set("june") for each in made])
    assert [group.objective for group in groups] == ["june/f1"] * 3
    assert [group.mean("june/f1") for group in groups] == [0.4, 0.3, 0.2]
    assert [group.differing["data.june_digest"] for group in groups] == ["y", "x", "x"]
    assert metrics_to_show(groups, [], "june/") == ["june/f1"]
    assert metrics_to_show(groups, ["final/f1", "f1"], "june/") == ["final/f1", "june/f1"]
    with pytest.raises(UserError, match=r"--set jun: .*did you mean 'june'"):
        require_scored(made, "jun")
    require_scored(made, "june")


def scores(**given: float) -> Any:
    return grouped([job(ADAMW, **given)])


def test_main_metrics_are_shown_and_others_when_asked_for() -> None:
    groups = scores(loss=0.5, precision=0.1, f1=0.1, f1_PER=0.2)
    assert metrics_to_show(groups, []) == ["final/f1", "final/precision", "final/loss"]
    assert metrics_to_show(groups, ["f1_PER", "final/loss"]) == ["final/f1_PER", "final/loss"]
    with pytest.raises(UserError, match=r"--metrics f1_PRE.*did you mean 'f1_PER'"):
        metrics_to_show(groups, ["f1_PRE"])


def test_names_that_would_be_the_same_stay_long() -> None:
    assert short_names(["model.path", "data.path", "lora.r"]) == ["model.path", "data.path", "r"]


OLD = {
    "task._target_": "expkit.Tags",
    "direction": "null",
}  # as runs were logged before they said it


def test_without_a_direction_there_is_no_best_and_a_line_says_so() -> None:
    made = [job({**OLD, "objective": "eval/wer", "lora.r": r}, wer=1.0) for r in "12"]
    groups = grouped(made)
    assert best_of(groups) == []
    assert groups[0].best_job is made[0]
    assert _legend(groups, grid(groups, ["final/wer"], best_of(groups))) == (
        "no best of final/wer: nothing says whether less or more of it is better"
    )
    assert [
        cell
        for row in grid(groups, ["final/wer"], best_of(groups)).rows
        for cell in row
        if "*" in cell
    ] == []


def test_a_score_is_found_by_the_name_of_its_type() -> None:
    metrics = {"final/f1_A_x0026_B": 0.5, "final/f1_A_x002B_B": 0.7}
    params = {**TASK, "objective": "eval/f1_A&B"}
    (group,) = groups = grouped([ComparedRun("a", "1", "FINISHED", "", params, metrics, {})])
    assert group.mean(group.objective) == 0.5
    assert metrics_to_show(groups, ["f1_A+B"]) == ["final/f1_A_x002B_B"]


def test_folds_are_one_row_although_their_splits_differ() -> None:
    jobs = [
        job(
            {**ADAMW, "data.fold": str(k), "data.folds": "2", "data.train_digest": f"{k}"}, f1=value
        )
        for k, value in ((1, 0.7), (2, 0.9))
    ]
    (group,) = grouped(jobs)
    assert (group.mean("final/f1"), [j.fold for j in group.jobs]) == (
        pytest.approx(0.8),
        ["1", "2"],
    )
    assert "folds" in _legend([group], grid([group], ["final/f1"], best_of([group])))
    again, _ = grouped([*jobs, jobs[0]])  # a fold counts once
    assert [j.fold for j in again.jobs] == ["1", "2"]


def test_groups_that_tie_are_all_the_best() -> None:
    pairs = (("1", 0.8), ("2", 0.8), ("3", 0.7))
    groups = grouped([job({"optimizer.lr": lr}, f1=value) for lr, value in pairs])
    assert best_of(groups) == groups[:2]
