"""The table on top of a sweep."""

from expkit.tracking.note import NOTE_LIMIT, Row, note_of


def address(run_id: str) -> str:
    return f"#/{run_id}"


def lines(*rows: Row, best: tuple[Row, ...] = ()) -> list[str]:
    return note_of(rows, best, address).replace("&emsp;", " ").splitlines()


def test_jobs_are_links_and_the_best_is_bold() -> None:
    first = Row("lr=1", {"lr": "1"}, "FINISHED", "eval/f1", 0.5, "a1", 12.3)
    second = Row("lr=2", {"lr": "2"}, "FINISHED", "eval/f1", 0.75, "b2", 7.0)
    assert lines(first, second, best=(second,)) == [
        "| job | eval/f1 | state | time |",
        "|:--|:--|:--|:--|",
        "| [lr=1](#/a1) | 0.5000 | finished | 12 s |",
        "| [lr=2](#/b2) | **0.7500** best | finished | 7 s |",
    ]


def test_a_failed_job_says_why_and_does_not_break_the_table() -> None:
    row = Row("x", {}, "FAILED", "eval/f1", run_id="a1", error="a|b <script> [c](d)\ne")
    (line,) = lines(row)[2:]
    assert line == r"| [x](#/a1) |  | failed: a\|b \<script\> \[c\](d) e |  |"


def test_jobs_with_different_objectives_name_them() -> None:
    rows = [
        Row("a", {}, "FINISHED", "eval/f1", 0.5, "1", 1.0),
        Row("b", {}, "NOT STARTED", "eval/bleu"),
    ]
    text = lines(*rows)
    assert text[0].startswith("| job | objective |")
    assert text[2:] == [
        "| [a](#/1) | eval/f1 0.5000 | finished | 1 s |",
        "| b |  | not started |  |",
    ]


def test_many_jobs_fit() -> None:
    rows = [Row(f"job {n}", {}, "FINISHED", "eval/f1", 0.5, "f" * 32, 1.0) for n in range(500)]
    note = note_of(rows, rows[:1], address)
    assert len(note) < NOTE_LIMIT + 500
    assert note.endswith("more in sweep/jobs.json")
