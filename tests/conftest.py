"""Fixtures: small data, small models, a store of their own for each test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from datasets import Dataset
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hypothesis import settings
from omegaconf import DictConfig

from expkit.config import texts
from expkit.config.project import conf_dir
from expkit.data.splits import Columns
from forked import run_module

if TYPE_CHECKING:
    from mlflow.entities import Run

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell lets what it starts in the background ignore Ctrl-C, and the commands of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# In the ordinary suite always the same examples; `--hypothesis-profile chaos` makes other ones each time.
settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.register_profile(
    "chaos", max_examples=5_000, database=None, deadline=None, print_blob=True
)
settings.load_profile("suite")

# Of commands; the width of the terminal also has to be there before the first of them is forked.
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
os.environ["COLUMNS"] = SURROUNDINGS["COLUMNS"]

CHECKOUT = Path(__file__).parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]

# Options that make a run take a few seconds.
TINY = (
    "model=tiny_bert",
    "precision=fp32",  # the same numbers on every machine
    "model.hidden_size=32",
    "model.dropout=0.1",  # what a test says about dropout needs some
    "data.sizes.train=64",
    "data.sizes.validation=32",
    "data.sizes.test=0",
    "train.batch_size=8",
    "train.log_every=1",
)

# Each task at its smallest, without a model of its own where that is too large for a test.
SMALL_TASKS: dict[str, tuple[str, ...]] = {
    "text_classification": ("task=text_classification", *TINY),
    "text_regression": ("task=text_regression", *TINY),
    "token_classification": ("task=token_classification", *TINY),
    "multilabel_classification": ("task=multilabel_classification", *TINY),
    "masked_lm": ("task=masked_lm", "task.block_size=16", *TINY),
    "translation": (
        "task=translation",
        "model=tiny_marian",
        "model.layers=1",
        "task.num_beams=2",
        "task.max_new_tokens=16",
        *(option for option in TINY if option != "model=tiny_bert"),
    ),
}

# The same, and one that trains with another loss than it reports, and reads whole sentences.
SMALL_RUNS = {
    **SMALL_TASKS,
    "weighted_words": (
        *SMALL_TASKS["token_classification"],
        "task.class_weights=balanced",
        "task.label_smoothing=0.1",
        "task.decoding=valid",
    ),
    "weighted_sets": (
        *SMALL_TASKS["multilabel_classification"],
        "task.class_weights=balanced",
        "task.label_smoothing=0.1",
        "task.threshold=tune",
    ),
}

# Jobs that differ in backend and precision, both of which libraries like to keep for a process.
JOBS_OF_ONE_PROCESS = (
    (*TINY, "train.max_steps=4"),
    (*TINY, "train.max_steps=4", "precision=bf16"),
    (*TINY, "train.max_steps=4", "backend=trainer"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--screenshots docs/images` keeps the pictures that the docs show."""
    parser.addoption("--screenshots", metavar="FOLDER", help="keep pictures of the MLflow UI here")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: the working directory, with a store of its own."""
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def expkit(project: Path) -> Command:
    """Run `python -m expkit...` in the project as a user does, but with all imports done before."""

    def run(
        *arguments: str, module: str = "expkit", timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        return run_module(module, arguments, project, os.environ | SURROUNDINGS, timeout)

    return run


@pytest.fixture
def python(project: Path) -> Command:
    """The same in a Python of its own; joblib starts no processes from one that was forked off."""

    def run(
        *arguments: str, module: str = "expkit", timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | SURROUNDINGS,
        )

    return run


@pytest.fixture
def started(project: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A run of `python -m expkit` that has written its first checkpoint; it ends with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "expkit", *options],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        deadline = time.monotonic() + 600
        folder = project / "outputs" / "runs"
        while not list(folder.glob("*/checkpoints/step-*/SHA256SUMS")):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip where it is absent."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets (../shared/data) are not here")
    return folder


def encoded_by(chunks: Iterable[Columns]) -> Dataset:
    """What a task's `encode` yields, as one table."""
    joined: Columns = {}
    for chunk in chunks:
        for name, values in chunk.items():
            joined.setdefault(name, []).extend(values)
    return Dataset.from_dict(joined)


def free_port() -> int:
    """One of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def composed(*overrides: str) -> DictConfig:
    """The configuration that `python -m expkit` would run with these overrides."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("config", list(overrides))
    texts.restore(cfg, overrides)
    return cfg


@contextmanager
def hydra() -> Iterator[tuple[ConfigLoader, DictConfig]]:
    """What composes the jobs of a sweep: the loader, and the configuration of the sweep."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
        yield loader, master


def launched(project: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A process group of its own with `python -m expkit`, which a test can kill; only errors are kept."""
    own = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.Popen(
        [sys.executable, "-m", "expkit", *arguments],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**own, "OMP_NUM_THREADS": "1"},
    )


def runs_of(project: Path) -> list["Run"]:
    """The runs in the project's store, the newest first."""
    from mlflow import MlflowClient  # after its telemetry has been switched off

    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def environment_of(run: "Run") -> dict[str, str]:
    """Versions and hardware, as a run has logged them."""
    import mlflow.artifacts

    return dict(mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/environment.json"))


def only_run(project: Path) -> "Run":
    """The run in the project's store, which has one."""
    (run,) = runs_of(project)
    return run
