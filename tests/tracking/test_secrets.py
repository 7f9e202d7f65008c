"""Passwords and tokens: in no output, parameter, tag or file of a run, also where it fails."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import pytest
from mlflow import MlflowClient

from expkit import __main__ as command
from expkit import app
from expkit.config.composition import work_has_begun
from expkit.processes.context import VARIABLE, JobContext
from expkit.processes.exits import _print, complain, print_error
from expkit.terminal import secrets
from expkit.terminal.display import say, table, tell
from expkit.terminal.errors import UserError
from expkit.terminal.secrets import redacted, redacted_in
from expkit.tracking import store
from expkit.tracking.params import params_of
from expkit.tracking.run import open_run
from expkit.tracking.sweep import open_sweep

SECRET = "hunter-2/#x"
ADDRESSES = (
    f"http://me:{SECRET}@host:5000/x",
    f"postgresql://me:{SECRET}@host/db",
    f"postgresql://host/db?user=me&password={SECRET}",
)
VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Addresses are remembered by a process."""
    yield
    secrets._of_addresses.clear()


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_in_a_text_lose_their_password(address: str) -> None:
    text = f"cannot reach '{address}' and {address} : refused"
    assert SECRET not in redacted(text)
    assert redacted(text).endswith(": refused")
    assert redacted_in({"a": [address, 1, None]}) == {"a": [redacted(address), 1, None]}


@pytest.mark.parametrize(
    "text",
    ["sqlite:////home/me@work/mlflow.db", "http://host:5000/#/x", "mail me@host", "a_token=3"],
)
def test_other_texts_stay(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("name", VARIABLES)
def test_secrets_of_the_environment_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    assert redacted(f"sent {SECRET} and {SECRET}") == "sent *** and ***"
    monkeypatch.setenv(name, "abc")
    assert redacted("an abc") == "an abc", "so short a text is everywhere"


def test_a_password_is_known_outside_of_its_address() -> None:
    secrets.remember(ADDRESSES[0])
    assert redacted(f"401 for {SECRET}") == "401 for ***"


def test_a_password_is_known_as_it_is_too_where_its_address_encodes_it() -> None:
    secrets.remember(f"postgresql://me:{quote(SECRET, safe='')}@host/db")
    assert redacted(f"{SECRET} or {quote(SECRET, safe='')}") == "*** or ***"


def test_nothing_that_is_shown_holds_a_secret(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    for text in (*ADDRESSES, SECRET):
        say(text)
        tell(text)
        table(text, ["a"], [[text]])
        complain(UserError(text))
        try:
            raise RuntimeError(text)
        except RuntimeError as error:
            print_error()
            _print(type(error), error, error.__traceback__)
    assert SECRET not in "".join(capfd.readouterr())


def test_a_command_that_fails_does_not_print_its_overrides(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Hydra would; and Python the message of the exception."""

    def fails(cfg: Any) -> None:
        raise RuntimeError(f"API request to {cfg.tracking.uri} failed")

    monkeypatch.setattr(app, "single", fails)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["expkit", f"tracking.uri='{ADDRESSES[0]}'"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    work_has_begun.clear()
    shown = "".join(capfd.readouterr())
    assert ended.value.code == 1
    assert "RuntimeError: API request to http://***@host:5000/x failed" in shown
    assert SECRET not in shown


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    return store.connect(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


def everything(client: MlflowClient, run_id: str, folder: Path) -> str:
    """All that a run has left, as one text."""
    run = client.get_run(run_id)
    mlflow.artifacts.download_artifacts(run.info.artifact_uri, dst_path=str(folder))
    files = [file.read_text() for file in folder.rglob("*") if file.is_file()]
    return "\n".join([str(run.to_dictionary()), *files])


def test_a_run_that_fails_logs_no_secret(
    client: MlflowClient, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{name} {SECRET}")
    context = JobContext(sweep="0" * 32, overrides=f"tracking={{uri:{ADDRESSES[0]}}}")
    monkeypatch.setenv(VARIABLE, context.variables()[VARIABLE])
    settings = {"uri": client.tracking_uri, "experiment": "secrets"}
    config = {"run_name": f"{VARIABLES[1]} {SECRET}", "model": {"path": ADDRESSES[1]}}
    opened = []

    def fails() -> None:
        with open_run(settings, "x", {"train": {}}, resume="never") as run:
            opened.append(run.id)
            run.log_config(params_of(config), {**config, "labels": [ADDRESSES[2]]})
            raise RuntimeError(f"{ADDRESSES[0]} refused {VARIABLES[0]} {SECRET}")

    with pytest.raises(RuntimeError):
        fails()
    left = everything(client, opened[0], tmp_path / "left")
    for part in ("RuntimeError: http://***@host:5000/x refused ***", "run_name: '***'"):
        assert part in left
    assert SECRET not in left


def test_a_sweep_logs_no_secret(client: MlflowClient, project: Path, tmp_path: Path) -> None:
    config = {
        "tracking": {"uri": client.tracking_uri, "experiment": "secrets"},
        "resume": "never",
        "trusted_modules": [],
    }
    typed = ["seed=1,2", f"+tracking={{uri:{ADDRESSES[0]}}}", f"model.path={ADDRESSES[1]}"]
    with open_sweep(config, "f", "a sweep", typed) as opened:
        client.log_text(opened.id, "", "a.txt")
    left = everything(client, opened.id, tmp_path / "left")
    assert "seed=1,2" in left
    assert SECRET not in left
