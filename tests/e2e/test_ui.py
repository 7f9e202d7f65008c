"""What a person sees of a sweep in the MLflow UI, in a browser."""

import json
import os
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
from urllib.parse import quote

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
WIDTH, HEIGHT = 1280, 800
# The values of all curves of all charts of a page.
DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')]
    .flatMap(chart => chart.data.map(curve => [...curve.y]))"""
STARTS_WITHIN, SHOWS_WITHIN = 180, 60  # seconds, on a busy machine
SWEEP = ("-m", "optimizer=adamw,sgd")
POINTS = 12  # of a curve, at least
SMALL = (
    *TINY,
    "train.epochs=1",
    f"data.sizes.train={2 * 8 * POINTS}",
    "data.sizes.test=32",
    "train.log_every=2",
    "train.eval_every=6",
)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(1800),
]


@dataclass(frozen=True)
class Sweep:
    """What the store holds."""

    experiment: str
    parent: Run
    jobs: list[Run]

    def path_of(self, run: Run, tab: str = "") -> str:
        return f"/experiments/{self.experiment}/runs/{run.info.run_id}{tab}"

    def query_of_jobs(self) -> str:
        ids = json.dumps([run.info.run_id for run in self.jobs])
        return f"runs={quote(ids)}&experiments={quote(json.dumps([self.experiment]))}"


class Browser:
    """A browser that shows the UI."""

    def __init__(self, page: Any, address: str, pictures: Path) -> None:
        self.page = page
        self._address = address
        self._pictures = pictures

    def go(self, path: str) -> None:
        """Open a page of the UI, in its mode for model training."""
        self.page.goto("about:blank")  # a change of the fragment alone would keep what is shown
        mark = "&" if "?" in path else "?"
        self.page.goto(f"{self._address}/#{path}{mark}workflowType=machine_learning")

    def see(self, text: str) -> Any:
        """The first visible element with exactly this text, as soon as there is one."""
        found = self.page.get_by_text(text, exact=True).locator("visible=true").first
        sync_api.expect(found).to_be_visible(timeout=1000 * SHOWS_WITHIN)
        return found

    def row(self, name: str) -> str:
        """The text of the table row with a cell of exactly that text."""
        self.see(name)
        cell = self.page.get_by_text(name, exact=True)
        return str(self.page.get_by_role("row").filter(has=cell).first.inner_text())

    def curves(self, points: int, expected: int) -> int:
        """How many different curves with at least so many points are drawn, when there are enough.

        What is drawn cannot be counted: Plotly leaves out points on a straight line.
        """
        deadline = time.monotonic() + SHOWS_WITHIN
        found = 0
        while found < expected and time.monotonic() < deadline:
            self.page.wait_for_timeout(500)
            curves = {tuple(values) for values in self.page.evaluate(DRAWN)}
            found = sum(len(values) >= points for values in curves)
        assert self.page.locator(".scatterlayer .js-line").count() >= expected
        return found

    def shoot(self, name: str, height: int = HEIGHT) -> None:
        """Keep a picture."""
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.page.wait_for_timeout(1500)  # charts and panels move into their place
        self.page.screenshot(path=self._pictures / f"{name}.png")
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def test_a_sweep_in_the_ui(
    expkit: Command, project: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    kept = pytestconfig.getoption("--screenshots")
    # The pictures of the README are those of the sweep in the README.
    done = expkit(*SWEEP, *(() if kept else SMALL), timeout=1200)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    sweep = stored(project)
    pictures = CHECKOUT / kept if kept else tmp_path / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    with served(project) as address, browser(tmp_path / "profile") as page:
        shown = Browser(page, address, pictures)
        close_assistant(shown)
        jobs_are_nested_under_their_sweep(shown, sweep)
        the_sweep_has_its_summary(shown, sweep)
        both_runs_are_side_by_side(shown, sweep)
        their_curves_are_in_one_chart(shown, sweep)
        metrics_of_a_run_are_grouped(shown, sweep)


def close_assistant(shown: Browser) -> None:
    """It would take a quarter of each picture; it stays closed."""
    shown.go("/experiments")
    shown.see("expkit")
    button = shown.page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
    if button.count():
        button.dispatch_event("click")


def jobs_are_nested_under_their_sweep(shown: Browser, sweep: Sweep) -> None:
    shown.go(f"/experiments/{sweep.experiment}/runs")
    shown.see("sweep optimizer")
    for name in ("optimizer=adamw", "optimizer=sgd"):
        assert shown.page.get_by_text(name, exact=True).count() == 0
    expand = shown.page.locator("[data-component-id*='runnamecellrenderer']").first
    expand.dispatch_event("click")
    for name in ("optimizer=adamw", "optimizer=sgd"):
        shown.see(name)
    shown.shoot("runs")


def the_sweep_has_its_summary(shown: Browser, sweep: Sweep) -> None:
    shown.go(sweep.path_of(sweep.parent))
    shown.see("Child runs")
    (best,) = (job for job in sweep.jobs if job.data.tags["expkit.best"] == "true")
    for job in sweep.jobs:
        row = shown.row(job.info.run_name)
        assert f"{job.data.metrics['eval/f1']:.4f}" in row
        assert ("best" in row) == (job is best)
    assert "adamw,sgd" in shown.row("optimizer")
    shown.shoot("sweep")
    shown.go(sweep.path_of(sweep.parent, "/artifacts/sweep/jobs.json"))
    shown.see("View as table")
    for job in sweep.jobs:
        shown.see(job.info.run_name)
    for picture in ("loss_curves.png", "objective.png"):
        shown.see(picture)


def both_runs_are_side_by_side(shown: Browser, sweep: Sweep) -> None:
    shown.go(f"/compare-runs?{sweep.query_of_jobs()}")
    shown.see("Run details")
    shown.see("Visualizations").click()
    shown.page.get_by_label("Parameters - Show diff only").click()
    for name in ("optimizer._target_", "optimizer.lr"):
        row = shown.row(name)
        for job in sweep.jobs:
            assert job.data.params[name] in row
    for job in sweep.jobs:
        shown.see(job.info.run_name)
    assert shown.page.get_by_text("data._target_", exact=True).count() == 0  # is the same in both
    for name in ("eval/f1", "train/loss"):
        assert shown.page.get_by_role("link", name=name, exact=True).count() == 1
    for job in sweep.jobs:
        assert shown.page.get_by_text(str(round(job.data.metrics["train/loss"], 3))).count()
    shown.see("Visualizations").scroll_into_view_if_needed()
    shown.shoot("compare", height=1480)


def their_curves_are_in_one_chart(shown: Browser, sweep: Sweep) -> None:
    metric = quote(json.dumps("train/loss"))
    settings = f"metric={metric}&plot_metric_keys=[{metric}]&x_axis=step"
    shown.go(f"/metric?{sweep.query_of_jobs()}&{settings}")
    for job in sweep.jobs:
        shown.see(f"{job.info.run_name} (train/loss)")
    assert shown.curves(POINTS, expected=2) == len(sweep.jobs) == 2
    shown.shoot("curves")


def metrics_of_a_run_are_grouped(shown: Browser, sweep: Sweep) -> None:
    shown.go(sweep.path_of(sweep.jobs[0], "/model-metrics"))
    for group in ("baseline", "eval", "lora", "test", "train"):
        shown.see(group)
    for group in ("baseline", "lora", "test"):
        shown.see(group).click()  # folds it
    shown.see("baseline").scroll_into_view_if_needed()
    shown.shoot("metrics", height=1300)


def stored(project: Path) -> Sweep:
    """The parent and the jobs, as the store has them."""
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("expkit")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    jobs = [run for run in runs if run is not parent]
    assert len(jobs) == 2
    return Sweep(experiment.experiment_id, parent, jobs)


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The UI as `make ui` opens it; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = project / "ui.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "expkit.ui", "--port", str(port)],
            cwd=project,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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
def browser(profile: Path) -> Iterator[Any]:
    """An empty page in a browser without a past."""
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
            yield page
        finally:
            context.close()
