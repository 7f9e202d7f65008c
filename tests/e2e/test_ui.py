"""What a person sees in the MLflow UI, in a browser, at the addresses that expkit prints."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import CHECKOUT, TINY, Command

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH, HEIGHT = 1500, 950
# The points of all curves of all charts of a page.
DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')]
    .flatMap(chart => chart.data.filter(curve => curve.y).map(curve => [[...curve.x], [...curve.y]]))"""
AXES = "() => [...document.querySelectorAll('.axis-title')].map(title => title.textContent)"
HEADER = """() => [...document.querySelectorAll('.ag-header-cell')]
    .sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left)
    .map(cell => cell.innerText.trim())"""
NAMES = """() => [...document.querySelectorAll('.ag-pinned-left-cols-container [role=row]')]
    .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
    .map(row => row.innerText)"""
STARTS_WITHIN, SHOWS_WITHIN = 180, 60  # seconds, on a busy machine
SWEEP = ("-m", "optimizer=adamw,sgd", "seed=1,2")
DIVERGES = ("optimizer=sgd", "optimizer.lr=1e30")
POINTS = 12  # of a curve, at least
SMALL = (
    *TINY,
    "train.epochs=1",
    f"data.sizes.train={2 * 8 * POINTS}",
    "data.sizes.test=32",
    "train.log_every=2",
    "train.eval_every=6",
)
# A module that Python imports at the start of every process: it notes which other machines are asked.
WATCH = """
import os, sys
def note(event, arguments):
    host = {"socket.connect": lambda: arguments[1][0], "socket.getaddrinfo": lambda: arguments[0]}
    if event in host and not isinstance(arguments[1], str):
        if str(host[event]()) not in ("127.0.0.1", "localhost", "0.0.0.0", "::1", "None"):
            with open(os.environ["ASKED"], "a") as file:
                print(event, arguments, file=file)
sys.addaudithook(note)
"""
ADDRESS = re.compile(r"^(run page|page|table|charts|compare) +http://127.0.0.1:5000/(#\S+)", re.M)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(1800),
]


@dataclass(frozen=True)
class Sweep:
    """What the store holds of a sweep."""

    parent: Run
    jobs: list[Run]


class Browser:
    """A browser that shows the UI."""

    def __init__(self, page: Any, address: str, pictures: Path) -> None:
        self.page = page
        self._address = address
        self._pictures = pictures

    def go(self, address: str) -> None:
        """Open an address as expkit prints it, without the host."""
        self.page.goto("about:blank")  # a change of the fragment alone would keep what is shown
        self.page.goto(f"{self._address}/{address}")

    def see(self, text: str) -> Any:
        """The first visible element with exactly this text, as soon as there is one."""
        found = self.page.get_by_text(text, exact=True).locator("visible=true").first
        sync_api.expect(found).to_be_visible(timeout=1000 * SHOWS_WITHIN)
        return found

    def see_part(self, text: str) -> None:
        """Wait for a visible element that has this text in it."""
        found = self.page.get_by_text(text).locator("visible=true").first
        sync_api.expect(found).to_be_visible(timeout=1000 * SHOWS_WITHIN)

    def row(self, name: str) -> str:
        """The text of the table row with a cell of exactly that text."""
        self.see(name)
        cell = self.page.get_by_text(name, exact=True)
        return str(self.page.get_by_role("row").filter(has=cell).first.inner_text())

    def curves(self, points: int, expected: int) -> list[tuple[list[float], list[float]]]:
        """The different curves with at least so many points, as soon as there are enough.

        What is drawn cannot be counted: Plotly leaves out points on a straight line.
        """
        found: dict[tuple[float, ...], tuple[list[float], list[float]]] = {}

        def are_there() -> bool:
            self.page.wait_for_timeout(500)
            drawn = self.page.evaluate(DRAWN)
            found.update({tuple(y): (x, y) for x, y in drawn if len(y) >= points})
            return len(found) >= expected

        wait_for(are_there, lambda: f"{len(found)} curves")
        assert self.page.locator(".scatterlayer .js-line").count() >= expected
        return list(found.values())

    def shoot(self, name: str) -> None:
        """Keep a picture."""
        self.page.wait_for_timeout(3000)  # charts and panels move into their place
        self.page.screenshot(path=self._pictures / f"{name}.png")


def test_the_ui_at_the_addresses_that_are_printed(
    expkit: Command, project: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    kept = pytestconfig.getoption("--screenshots")

    def run(*options: str, code: int = 0) -> dict[str, str]:
        # The pictures of the docs show runs of the size that a reader gets.
        done = expkit(*options, *(() if kept else SMALL), timeout=3600)
        assert done.returncode == code, done.stderr
        print(done.stdout)
        return dict(ADDRESS.findall(done.stdout))

    of_failed = run(*DIVERGES, code=1)
    of_sweep = run(*SWEEP)
    of_run = run("seed=3", "optimizer=adam")
    sweep = stored(project)
    pictures = CHECKOUT / kept if kept else tmp_path / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    with served(project) as address, browser(tmp_path / "profile") as (page, requests):
        shown = Browser(page, address, pictures)
        the_table_shows_the_jobs_by_their_result(shown, sweep, of_sweep["table"])
        a_click_on_a_run_stays_in_the_mode_and_opens_no_assistant(shown, sweep)
        the_charts_show_what_was_measured(shown, sweep, of_sweep["charts"])
        the_comparison_begins_with_what_was_typed(shown, sweep, of_sweep["compare"])
        the_sweep_has_its_summary(shown, sweep, of_sweep["page"])
        all_runs_are_in_one_table(shown, sweep, of_run["compare"])
        a_run_says_what_it_is_worth(shown, of_run["run page"])
        its_curves_have_one_value_at_each_step(shown, of_run["run page"])
        a_failed_run_says_why(shown, of_failed["run page"])
        if kept:
            of_translation = run("task=translation")
            shown.go(of_translation["run page"].replace("?", "/artifacts/eval/translations.json?"))
            shown.see("View as table")
            shown.shoot("artifacts")
    local = ("http://127.0.0.1:", "data:", "blob:", "about:")
    assert [address for address in requests if not address.startswith(local)] == []
    asked = project / "asked.txt"
    assert not asked.exists(), asked.read_text()


def the_table_shows_the_jobs_by_their_result(shown: Browser, sweep: Sweep, address: str) -> None:
    shown.go(address)
    results = {job.info.run_name: job.data.metrics["final/f1"] for job in sweep.jobs}
    for name in results:
        shown.see(name)
    expected = ["Run Name", "final/f1", "optimizer", "seed", "final/accuracy"]
    header = shown.page.evaluate(HEADER)
    assert [title for title in header if title in expected] == expected
    rows = shown.page.evaluate(NAMES)
    listed = [name for row in rows for name in results if name in row]
    assert sorted(listed) == sorted(results)  # and neither the sweep nor other runs
    values = [results[name] for name in listed]
    assert values == sorted(values, reverse=True)
    shown.shoot("sweep-table")


def a_click_on_a_run_stays_in_the_mode_and_opens_no_assistant(shown: Browser, sweep: Sweep) -> None:
    shown.see(str(sweep.jobs[0].info.run_name)).click()
    shown.see_part("About this run")
    assert "workflowType=genai" not in shown.page.url
    assert shown.page.get_by_text("Evaluation runs").count() == 0
    close = "[data-component-id='mlflow.assistant.chat_panel.close']"
    assert shown.page.locator(close).locator("visible=true").count() == 0


def the_charts_show_what_was_measured(shown: Browser, sweep: Sweep, address: str) -> None:
    shown.go(address)
    for title in ("final/f1 (higher is better)", "Curves"):
        shown.see_part(title)
    shown.curves(POINTS, expected=len(sweep.jobs))
    for other in ("baseline", "test"):  # sections that the UI would add
        assert shown.page.get_by_text(other, exact=True).count() == 0
    shown.shoot("sweep-charts")


def the_comparison_begins_with_what_was_typed(shown: Browser, sweep: Sweep, address: str) -> None:
    shown.go(address)
    shown.see("Run details")
    for job in sweep.jobs:
        shown.see(str(job.info.run_name))
    axes: list[str] = []

    def are_drawn() -> bool:
        shown.page.wait_for_timeout(500)
        axes[:] = shown.page.evaluate(AXES)
        return len(axes) >= 4

    wait_for(are_drawn, lambda: f"axes: {axes}")
    # Three parameters that differ, and the metric.
    assert (axes[:2], axes[3:]) == (["Typed.optimizer", "Typed.seed"], ["final/f1"])
    shown.shoot("compare")


def the_sweep_has_its_summary(shown: Browser, sweep: Sweep, address: str) -> None:
    shown.go(address)
    shown.see("Child runs")
    best = max(job.data.metrics["final/f1"] for job in sweep.jobs)
    for job in sweep.jobs:
        row, value = shown.row(str(job.info.run_name)), job.data.metrics["final/f1"]
        assert f"{value:.4f}" in row
        assert ("best" in row) == (value == best)
    assert "adamw,sgd" in shown.row("optimizer")
    shown.shoot("sweep")
    with shown.page.context.expect_page() as other_tab:
        shown.see("table").click()
    sync_api.expect(other_tab.value.get_by_text("Run Name", exact=True).first).to_be_visible()
    assert f"viewStateShareKey=expkit-{sweep.parent.info.run_id}" in other_tab.value.url
    other_tab.value.close()
    shown.go(address.replace("?", "/artifacts/sweep/jobs.json?"))
    shown.see("View as table")
    for job in sweep.jobs:
        shown.see(str(job.info.run_name))


def all_runs_are_in_one_table(shown: Browser, sweep: Sweep, address: str) -> None:
    shown.go(address)
    for job in sweep.jobs:
        shown.see(str(job.info.run_name))
    expected = ["Run Name", "final/f1", "expkit.task", "expkit.model", "expkit.data"]
    header = shown.page.evaluate(HEADER)
    assert [title for title in header if title in expected] == expected
    assert shown.page.get_by_text(str(sweep.parent.info.run_name), exact=True).count() == 0
    shown.shoot("experiment")


def a_run_says_what_it_is_worth(shown: Browser, address: str) -> None:
    shown.go(address)
    shown.see_part("higher is better")
    shown.see_part("majority baseline")
    for bookkeeping in ("pid", "host", "fingerprint"):
        assert shown.page.get_by_text(f"expkit.{bookkeeping}").count() == 0
    shown.shoot("run")


def its_curves_have_one_value_at_each_step(shown: Browser, address: str) -> None:
    shown.go(address.replace("?", "/model-metrics?"))
    for group in ("baseline", "eval", "final", "test", "train"):
        shown.see(group)
    for steps, _ in shown.curves(2, expected=2):
        assert len(set(steps)) == len(steps)


def a_failed_run_says_why(shown: Browser, address: str) -> None:
    shown.go(address)
    shown.see_part("traceback.txt")
    shown.see_part("resume=auto")
    shown.shoot("failed-run")


def stored(project: Path) -> Sweep:
    """The sweep and its jobs, as the store has them."""
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("expkit")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    jobs = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(jobs) == 4
    (parent,) = {job.data.tags["mlflow.parentRunId"] for job in jobs}
    return Sweep(client.get_run(parent), jobs)


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The UI as `make ui` opens it; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = project / "ui.log"
    (project / "watched").mkdir()
    (project / "watched" / "sitecustomize.py").write_text(WATCH)
    watched = {"PYTHONPATH": str(project / "watched"), "ASKED": str(project / "asked.txt")}
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "expkit.ui", "--port", str(port)],
            cwd=project,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | watched,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(address, server), lambda: log.read_text())
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=600)


def answers(address: str, server: "subprocess.Popen[bytes]") -> bool:
    assert server.poll() is None, "the server has ended"
    try:
        urllib.request.urlopen(f"{address}/health", timeout=5).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool], explanation: Callable[[], str]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while not condition():
        assert time.monotonic() < deadline, explanation()
        time.sleep(0.5)


@contextmanager
def browser(profile: Path) -> Iterator[tuple[Any, list[str]]]:
    """An empty page in a browser without a past, and what its pages ask for."""
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=list(FLAGS),
            viewport={"width": WIDTH, "height": HEIGHT},
        )
        try:
            page = context.pages[0]
            page.set_default_timeout(1000 * SHOWS_WITHIN)
            requests: list[str] = []
            context.on("request", lambda request: requests.append(request.url))
            yield page, requests
        finally:
            context.close()
