"""The descriptions on top of a sweep and of a run."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from expkit.tracking import note
from expkit.tracking.note import NOTE_LIMIT, Row, command_of, note_of, note_of_failure, note_of_run

RESULTS = {"validation": {"loss": 0.25, "f1": 0.75}, "test": {"loss": 0.5}}
BASELINE = {"majority_f1": 0.5}
VIEWS = {"table": "#/t", "charts": "#/c"}


def address(run_id: str) -> str:
    return f"#/{run_id}"


def lines(*rows: Row, best: tuple[Row, ...] = (), verdict: tuple[str, ...] = ()) -> list[str]:
    marked = {row.run_id for row in best}
    return note_of(rows, best, address, VIEWS, verdict, marked).replace("&emsp;", " ").splitlines()


def test_jobs_are_links_and_the_best_is_bold() -> None:
    first = Row("lr=1", {"lr": "1"}, "FINISHED", "eval/f1", 0.5, "a1", 12.3)
    second = Row("lr=2", {"lr": "2"}, "FINISHED", "eval/f1", 0.75, "b2", 7.0, direction="maximize",
                 metrics={"baseline/majority_f1": 0.5, "baseline/majority_macro_f1": 0.25})  # fmt: skip
    assert lines(first, second, best=(second,)) == [
        "[table](#/t) · [charts](#/c)",
        "",
        "Best: lr=2: final/f1 0.7500 (higher is better); majority baseline 0.5000"
        " – [how to load it and get predictions](#/b2)",
        "",
        "| job | final/f1 | state | time |",
        "|:--|:--|:--|:--|",
        "| [lr=1](#/a1) | 0.5000 | finished | 12 s |",
        "| [lr=2](#/b2) | **0.7500** best | finished | 7 s |",
    ]


def test_a_tie_is_said() -> None:
    rows = tuple(Row(f"seed={n}", {}, "FINISHED", "eval/loss", 0.5, f"{n}") for n in range(7))
    shown = lines(*rows, best=rows[:2])
    assert shown[2] == "Best: 2 jobs tie: seed=0, seed=1: final/loss 0.5000"
    assert sum("**0.5000** best" in line for line in shown) == 2
    judged = lines(*rows, best=rows[:2], verdict=("a and b cannot be told apart", "b*"))
    assert judged[2:5:2] == ["**a and b cannot be told apart**", r"b\*"]
    assert sum("**0.5000** may be the best" in line for line in judged) == 2
    (line,) = note.verdicts(rows)
    assert line == "7 jobs tie: seed=0, seed=1, seed=2, seed=3, seed=4, …: final/loss 0.5000"


def test_jobs_of_different_contests_do_not_tie() -> None:
    rows = [Row(name, {}, "FINISHED", "eval/f1", 0.5, task=name) for name in ("a", "b")]
    assert note.verdicts(rows) == ["a: final/f1 0.5000", "b: final/f1 0.5000"]


def test_a_failed_job_says_why_and_does_not_break_the_table() -> None:
    row = Row("x", {}, "FAILED", "eval/f1", run_id="a1", error="a|b <script> [c](d)\ne")
    (line,) = lines(row)[4:]
    assert line == r"| [x](#/a1) |  | failed: a\|b \<script\> \[c\](d) e |  |"


def test_jobs_with_different_objectives_name_them() -> None:
    rows = [
        Row("a", {}, "FINISHED", "eval/f1", 0.5, "1", 1.0),
        Row("b", {}, "NOT STARTED", "eval/bleu"),
    ]
    text = lines(*rows)
    assert text[2].startswith("| job | objective |")
    assert text[4:] == [
        "| [a](#/1) | final/f1 0.5000 | finished | 1 s |",
        "| b |  | not started |  |",
    ]


def test_many_jobs_fit() -> None:
    rows = [Row(f"job {n}", {}, "FINISHED", "eval/f1", 0.5, "f" * 32, 1.0) for n in range(500)]
    text = note_of(rows, rows[:1], address, VIEWS, [], ["f" * 32])
    assert len(text) < NOTE_LIMIT + 500
    assert text.endswith("more jobs are in sweep/jobs.json")


def of_run(
    results: dict[str, Any] = RESULTS,
    baseline: dict[str, float] = BASELINE,
    command: str = "python -m expkit seed=1",
    log_model: bool = True,
    objective: str = "eval/f1",
    **names: str,
) -> list[str]:
    config = {"objective": objective, "direction": "maximize", "task": {}}
    config |= {"tracking": {"log_model": log_model}}
    names = {"data": "demo", "model": "minilm"} | names
    scores = note.score_table(results, baseline)
    text = note_of_run("abc", config, scores, names, command, Path("/runs/abc/model"))
    return text.replace("&emsp;", " ").splitlines()


def test_a_run_says_its_result_first_and_then_how_it_was_made_and_how_to_use_it() -> None:
    assert of_run() == [
        "**final/f1 0.7500 (higher is better)**; majority baseline 0.5000",
        "",
        "```",
        "python -m expkit seed=1",
        "```",
        "",
        "```python",
        'mlflow.pyfunc.load_model("runs:/abc/model")  # predict takes a list of texts',
        'mlflow.transformers.load_model("runs:/abc/model", return_type="components")',
        "```",
        "",
        "| metric | final (validation) | test | majority baseline |",
        "|:--|:--|:--|:--|",
        "| loss | 0.2500 | 0.5000 |  |",
        "| f1 | 0.7500 |  | 0.5000 |",
        "",
        "Data: demo. Model: minilm, now in /runs/abc/model",
        "",
        "```",
        "python -m expkit.predict abc --text ...",
        "```",
    ]


def test_a_run_leaves_out_what_there_is_not() -> None:
    text = "\n".join(of_run(command="", log_model=False, baseline={}))
    assert text.startswith("**final/f1 0.7500 (higher is better)**\n\n| metric")
    assert "load_model" not in text
    assert "predict" not in text
    assert "```" not in text


def test_a_score_that_is_missing_or_no_number_is_said() -> None:
    assert of_run(results={"validation": {"loss": 1.0}})[0].startswith("**final/f1 nan")


def test_the_result_on_a_further_set_stands_beside_no_baseline_of_another_one() -> None:
    results = {**RESULTS, "june": {"f1": 0.25, "f1_NEW": 0.125}}
    shown = of_run(results=results, objective="june/f1")
    assert shown[0] == "**june/f1 0.2500 (higher is better)**"
    assert "| metric | final (validation) | test | june | majority baseline |" in shown
    assert r"| f1\_NEW |  |  | 0.1250 |  |" in shown
    shown = of_run(results=results, objective="june/f1_NEW")
    assert shown[0].startswith(r"**june/f1\_NEW 0.1250 (")
    row = Row("a", {}, "FINISHED", "june/f1", 0.25, metrics={"baseline/majority_f1": 0.5})
    assert note.verdicts([row]) == ["a: june/f1 0.2500"]


def test_names_are_no_markdown_and_break_nothing() -> None:
    results = {"validation": {"f1": 0.5, "f1_A|B": 0.25}}
    shown = of_run(results=results, data="*a*\n# b", model="<i>&amp;", command="x '```\n# y'")
    assert "| f1\\_A\\|B | 0.2500 |  |" in shown
    assert r"Data: \*a\* # b. Model: \<i\>\&amp;, now in /runs/abc/model" in shown
    assert shown[2:6] == ["````", "x '```", "# y'", "````"]


def test_many_scores_leave_room_for_the_rest() -> None:
    results = {"validation": {"f1": 0.5} | {f"f1_{n}": 0.5 for n in range(500)}}
    text = "\n".join(of_run(results=results, command="x" * 9000, baseline={}))
    assert len(text) < NOTE_LIMIT
    assert "more metrics" in text
    assert "expkit.predict abc" in text


def test_a_failure_says_why_what_to_do_and_the_command() -> None:
    text = note_of_failure("TypeError: a_b\nc", note.AFTER_FAILURE, "python -m expkit")
    first, advice, code = text.split("\n\n")
    assert first == r"**TypeError: a\_b c**"
    assert "`traceback.txt`" in advice
    assert "`resume=auto`" in advice
    assert code == "```\npython -m expkit\n```"
    assert note_of_failure("x", "y", "") == "**x**\n\ny"


@pytest.mark.parametrize("override", ["run_name=a b", "x='$HOME'", "a=[1,2]", "+b=~"])
def test_a_command_is_read_by_a_shell_as_it_was_typed(override: str) -> None:
    command = ["python", "-m", "expkit", override]
    assert shlex.split(command_of([override, "tracking.uri=http://me:secret@host"])) == command
    assert command_of([]) == ""
