"""What stands on top of a run in MLflow, from its start to its end."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import only_run
from expkit.terminal.errors import Pruned, UserError
from expkit.tracking import note, store
from expkit.tracking.run import open_run

SETTINGS = {"uri": None, "experiment": "x"}


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return store.connect(None)


def description(project: Path) -> str:
    return str(only_run(project).data.tags[note.NOTE])


def fail(error: BaseException) -> None:
    def run() -> None:
        with open_run(SETTINGS, "a run", {}, resume="never") as opened:
            opened.start(0, "python -m expkit seed=1")
            raise error

    with pytest.raises(type(error)):
        run()


def test_a_run_that_has_finished_keeps_what_was_said_of_it(
    client: MlflowClient, project: Path
) -> None:
    with open_run(SETTINGS, "a run", {}, resume="never") as run:
        run.start()
        run.describe("**final/f1 1.0**")
    assert description(project) == "**final/f1 1.0**"


def test_one_that_dies_without_a_word_says_so_from_its_start(
    client: MlflowClient, project: Path
) -> None:
    with open_run(SETTINGS, "a run", {}, resume="never") as run:
        run.start(0, "python -m expkit seed=1")
    text = description(project)
    assert text.startswith(f"**{note.UNFINISHED}**")
    assert "died without a message" in text
    assert "python -m expkit seed=1" in text


@pytest.mark.parametrize(
    ("error", "first", "advice"),
    [
        (ValueError("a_b\nc"), r"**ValueError: a\_b**", note.AFTER_FAILURE),
        (UserError("x.csv: do this"), "**x.csv: do this**", note.AFTER_FAILURE),
        (KeyboardInterrupt(), "**was stopped by a signal; resume=auto", note.AFTER_SIGNAL),
        (Pruned("behind"), "**Pruned: behind**", note.AFTER_PRUNING),
    ],
    ids=["exception", "message", "signal", "pruned"],
)
def test_one_that_has_not_finished_says_why_and_what_to_do(
    error: BaseException, first: str, advice: str, client: MlflowClient, project: Path
) -> None:
    fail(error)
    text = description(project)
    assert text.startswith(first)
    assert advice in text
    assert text.endswith("```\npython -m expkit seed=1\n```")


def test_one_that_has_failed_says_where_its_page_is(
    client: MlflowClient, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(ValueError("a"))
    run = only_run(project).info
    page = f"#/experiments/{run.experiment_id}/runs/{run.run_id}?workflowType=machine_learning"
    assert f"run page            http://127.0.0.1:5000/{page}" in capsys.readouterr().out
    fail(KeyboardInterrupt())
    assert "run page" not in capsys.readouterr().out


def test_a_description_holds_no_secret_and_fits(
    client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter22")
    with open_run(SETTINGS, "a run", {}, resume="never") as run:
        run.start()
        run.describe("http://me:hunter22@host hunter22 " + "x" * 9000)
    text = description(project)
    assert text.startswith("http://***@host *** x")
    assert len(text) == note.NOTE_LIMIT
