"""`expkit.report`: a page and its tables, from what a real sweep has logged."""

import html
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conftest import Command
from expkit.commands.report import parser, run
from expkit.terminal.errors import UserError
from expkit.tracking.jobs import select
from expkit.tracking.logged import data_digests, logged_run
from expkit.tracking.past import FINGERPRINT, KIND, SWEEP
from expkit.tracking.store import connect, experiment_id

HOSTILE = "<script>alert(1)</script> a|b *c* \\ <img src=http://x.example/y.png>"
TYPED = (
    *("model=tiny_bert", "model.hidden_size=32", "precision=fp32", "task.text_columns=[text]"),
    *("data=files", "data.train_file=all.jsonl", "data.validation_file=all.jsonl"),
    *("train.max_steps=4", "train.log_every=1", "train.batch_size=8", "tracking.log_model=false"),
    "optimizer.lr=1e-3,1e-2,1e30",
)


class Page(HTMLParser):
    """What stands on a page: its headings, its tables as lists of rows, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.loads: list[str] = re.findall(r"url\((?!#)[^)]*\)|@import", text)
        self.tags: set[str] = set()
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [f"{k}={v}" for k, v in attrs if k in ("src", "href", "xlink:href", "data")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th", "h2"):
            self._into = self.headings if tag == "h2" else self.tables[-1][-1]
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "h2"):
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


def table(page: Page, first: str) -> list[dict[str, str]]:
    """The rows of the table whose first column has this header."""
    header, *rows = next(found for found in page.tables if found and found[0][0] == first)
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_sweep_with_failed_jobs_and_hostile_data(expkit: Command, project: Path) -> None:
    records = [{"text": f"{HOSTILE} {i}", "label": ("yes", HOSTILE)[i % 2]} for i in range(24)]
    (project / "all.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert expkit("-m", *TYPED).returncode == 1  # those of 1e30 have failed
    assert run(parser().parse_args(["--out", "deep/report"]))
    folder = project / "deep" / "report"
    assert sorted(file.name for file in folder.iterdir()) == ["index.html", "tables.md"]
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    titles = "What was run,Data,Verdict,Curves,Errors,Time,Versions and hardware,Doing it again"
    expected = [f"{n}. {title}" for n, title in enumerate(titles.split(","), start=1)]
    assert page.headings == expected
    assert all(load.startswith(("href=#", "xlink:href=#")) for load in page.loads)
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert text.count("<svg") == 2
    assert "{{" not in text

    jobs = [job for job in select([]).jobs if job.state == "FINISHED"]
    assert len(jobs) == 2
    for row in table(page, "configuration"):
        (job,) = (job for job in jobs if job.name == row["configuration"])
        assert row["score"] == f"{job.metrics['final/f1']:.4f}"
        if row["in the set"] == "yes":
            by_label = {of["label"]: of[row["configuration"]] for of in table(page, "label")}
            assert by_label.keys() == {"yes", HOSTILE}  # which are as frequent as each other
            wrong = sum(map(float, by_label.values())) / 2
            assert wrong == pytest.approx(1 - job.metrics["final/accuracy"], abs=1e-4)
    assert {row["key"]: row["value"] for row in table(page, "key")}["train.max_steps"] == "4"
    failed = table(page, "job")
    assert [row["job"] for row in failed] == ["lr=1e30"]
    assert all("train/loss is nan" in row["why"] for row in failed)
    logged = logged_run(jobs[0].run_id)
    assert {row["what"]: row["value"] for row in table(page, "what")} == logged.environment()
    digests = {(row["split"], row["digest"]) for row in table(page, "split")}
    assert digests == set(data_digests(logged.run).items())
    assert all(f"python -m expkit.reproduce {job.run_id}" in text for job in jobs)
    assert f"python -m expkit -m {shlex.join(TYPED)}" in html.unescape(text)
    _same_tables(page, (folder / "tables.md").read_text(encoding="utf-8"))

    (folder / "mine.txt").write_text("stays")
    (folder / "tables.md").write_text("# mine")
    with pytest.raises(
        UserError, match=r"tables.md: is no report's; move it, or use another --out"
    ):
        run(parser().parse_args(["--out", str(folder)]))
    assert (folder / "tables.md").read_text() == "# mine"
    assert (folder / "mine.txt").read_text() == "stays"
    with pytest.raises(UserError, match="is a single run; expkit report takes a sweep"):
        run(parser().parse_args([jobs[0].run_id[:8]]))


def test_a_sweep_of_which_nothing_has_finished(project: Path) -> None:
    client = connect(None)
    place = experiment_id(client, "expkit")
    sweep = client.create_run(place, run_name="sweep x", tags={KIND: "sweep"}).info.run_id
    job = client.create_run(place, run_name="a", tags={SWEEP: sweep, FINGERPRINT: "f"})
    client.set_terminated(job.info.run_id, "FAILED")
    with pytest.raises(UserError, match=r"sweep x .*: no job has finished, so there is nothing"):
        run(parser().parse_args([sweep]))
    assert not (project / "report").exists()


def _same_tables(page: Page, text: str) -> None:
    """The Markdown holds the tables of the page."""
    blocks = [block for block in text.split("\n\n") if block.startswith("| ")]
    written = [
        [_cells(line) for i, line in enumerate(b.strip().splitlines()) if i != 1] for b in blocks
    ]
    assert written == [found for found in page.tables if found]


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |"))
    return [re.sub(r"\\(.)", r"\1", cell) for cell in cells]
