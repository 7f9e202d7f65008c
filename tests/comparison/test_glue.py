"""The table of GLUE, out of the metrics of a sweep's jobs."""

from collections.abc import Mapping

import pytest

from expkit.comparison.glue import show, table_of
from expkit.config.glue import tasks
from expkit.terminal.display import console

# BERT-large on the leaderboard, whose score of it is 80.5 (Devlin et al., 2019, https://arxiv.org/abs/1810.04805).
BERT: dict[str, Mapping[str, float]] = {
    "cola": {"final/matthews": 0.605},
    "sst2": {"final/accuracy": 0.949},
    "mrpc": {"final/f1": 0.893, "final/accuracy": 0.854},
    "stsb": {"final/pearson": 0.876, "final/spearman": 0.865},
    "qqp": {"final/f1": 0.721, "final/accuracy": 0.893},
    "mnli": {"final/accuracy": 0.867, "mismatched/accuracy": 0.859},
    "qnli": {"final/accuracy": 0.927},
    "rte": {"final/accuracy": 0.701},
    "wnli": {"final/accuracy": 0.651},
}
HEADER = [
    *(
        "configuration",
        "CoLA Mcc",
        "SST-2 acc",
        "MRPC F1/acc",
        "STS-B P/S",
        "QQP F1/acc",
        "MNLI m/mm",
    ),
    *("QNLI acc", "RTE acc", "WNLI acc", "average", "no WNLI"),
]
CELLS = ["60.5", "94.9", "89.3/85.4", "87.6/86.5", "72.1/89.3", "86.7/85.9", "92.7", "70.1", "65.1"]


def recipe(task: str, **more: str) -> dict[str, str]:
    return {"experiment": f"glue_{task}", **more}


def test_the_score_of_the_leaderboard() -> None:
    jobs = [(task, recipe(task), BERT[task]) for task in reversed(list(tasks()))]
    assert table_of(jobs) == (HEADER, [["", *CELLS, "80.5", "82.5"]])


def test_a_row_for_each_configuration_and_the_mean_over_seeds() -> None:
    jobs = [
        ("cola", recipe("cola", seed=seed, optimizer=optimizer), {"final/matthews": score})
        for optimizer, scores in {"adamw": (0.2, 0.3), "sgd": (0.1, 0.1)}.items()
        for seed, score in zip("12", scores, strict=True)
    ]
    jobs += [
        ("rte", recipe("rte", seed=seed, optimizer=optimizer), {"final/accuracy": 0.5})
        for optimizer in ("adamw", "sgd")
        for seed in "12"
    ]
    header, rows = table_of(jobs)
    assert header == [
        "configuration",
        "CoLA Mcc",
        "RTE acc",
    ]  # the mean of two tasks is no score of GLUE
    assert rows == [["optimizer=adamw", "25.0", "50.0"], ["optimizer=sgd", "10.0", "50.0"]]


def test_a_cell_is_empty_unless_all_of_its_jobs_have_finished() -> None:
    jobs = [(task, recipe(task, seed=seed), BERT[task]) for task in BERT for seed in "12"]
    jobs[0] = ("cola", recipe("cola", seed="1"), {})
    _, (row,) = table_of(jobs)
    assert row == ["", "", *CELLS[1:], "", ""]
    jobs[0], jobs[-1] = jobs[1], ("wnli", recipe("wnli", seed="2"), {})
    _, (row,) = table_of(jobs)
    assert row == ["", *CELLS[:-1], "", "", "82.5"]


def test_two_recipes_for_one_task_are_two_configurations() -> None:
    """Their mean would look like a mean over seeds."""
    jobs = [
        ("rte", {"experiment": "glue_rte"}, {"final/accuracy": 0.5}),
        ("rte", {"experiment": "mine"}, {"final/accuracy": 0.7}),
        ("cola", {"experiment": "glue_cola"}, {"final/matthews": 0.1}),
    ]
    _, rows = table_of(jobs)
    assert rows == [
        ["experiment=glue_rte", "", "50.0"],
        ["experiment=mine", "", "70.0"],
        ["experiment=glue_cola", "10.0", ""],
    ]


def test_one_task_alone_needs_no_table() -> None:
    assert table_of([("rte", {"seed": s}, {"final/accuracy": 0.5}) for s in "12"])[1] == []
    assert table_of([])[1] == []


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_never_folded(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", width)
    header, rows = table_of([(task, recipe(task), BERT[task]) for task in BERT])
    show("a sweep", header, [["optimizer=adamw", *rows[0][1:]]])
    printed = capsys.readouterr().out
    for cell in CELLS:
        assert f" {cell} " in printed
    is_wide = printed.count("optimizer=adamw") == 1 and "Mcc" in printed.splitlines()[3]
    assert is_wide == (width == 120)
