"""The end of a run that has trained: whatever comes in between, nothing of it is lost."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from mlflow import MlflowClient

from conftest import only_run
from expkit.config.fingerprint import digest_of_values
from expkit.config.project import run_folder
from expkit.processes.interrupts import ENDING, end_on_signals, raise_late
from expkit.terminal.errors import UserError
from expkit.tracking import outbox, store
from expkit.tracking.entries import Entry, send
from expkit.tracking.past import FINGERPRINT
from expkit.tracking.run import open_run
from expkit.tracking.writer import Run

SETTINGS = {"uri": None, "experiment": "x"}
FACTS = {"seed": 1}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the command."""
    before = {number: signal.getsignal(number) for number in ENDING}
    end_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def at(kind: str, happens: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen just before an entry of that kind is sent."""

    def sent(client: MlflowClient, run_id: str, entry: Entry) -> None:
        if entry["kind"] == kind:
            happens()
        send(client, run_id, entry)

    monkeypatch.setattr(outbox, "send", sent)
    monkeypatch.setattr(outbox, "FIRST_WAIT", 0.01)


def finished_run(resume: str = "never", **options: Any) -> str:
    with open_run(SETTINGS, "name", FACTS, resume=resume, **options) as run:
        run.start(None)
        run.log({"eval/f1": 0.5})
        run.tag("precision", "fp32")
    return run.id


@pytest.mark.parametrize("number", [signal.SIGINT, *ENDING])
def test_a_signal_while_the_last_entries_are_sent_waits_for_them(
    number: signal.Signals, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("end", lambda: os.kill(os.getpid(), number), monkeypatch)
    run_id = finished_run()
    found = only_run(project)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"eval/f1": 0.5})
    assert not (run_folder(run_id) / outbox.FILE).exists()
    with pytest.raises(KeyboardInterrupt):
        raise_late()  # no other job of a sweep begins
    raise_late()


@pytest.mark.slow
def test_a_second_one_leaves_them_to_sync(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = Event()

    def hangs() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # does not count, as a parent may send it too
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(60)

    at("end", hangs, monkeypatch)
    try:
        run_id = finished_run()
        said = " ".join(capsys.readouterr().out.split())
        assert f"1 entries of run {run_id} wait in " in said
        assert "python -m expkit.sync sends them" in said
        assert outbox.has_finished(run_folder(run_id))
    finally:
        released.set()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    ],
)
def test_the_model_is_too_large_for_the_machine(
    error: Exception, message: str, project: Path
) -> None:
    def fails() -> None:
        raise error

    with pytest.MonkeyPatch.context() as small:
        at("tags", fails, small)
        with pytest.raises(UserError, match=f"{message}; MLflow has not got all of run .*resume=a"):
            finished_run()
    assert only_run(project).info.status == "FAILED"
    finished_run("auto", can_go_on=lambda folder: True)
    assert only_run(project).info.status == "FINISHED"


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_one_that_was_killed_meanwhile(has_checkpoint: bool, project: Path) -> None:
    client = store.connect(None)
    tags = {FINGERPRINT: digest_of_values(FACTS)}
    run_id = client.create_run(store.experiment_id(client, "x"), tags=tags).info.run_id
    killed = Run(client, run_id, "name")
    killed._outbox.put({"kind": "end", "status": "FINISHED", "time": 1})  # written, not sent
    killed._outbox._lock.release()
    client.set_terminated(run_id, "KILLED")
    if not has_checkpoint:
        with pytest.raises(UserError, match=r"python -m expkit\.sync sends the rest"):
            finished_run("auto")
        return
    assert finished_run("auto", can_go_on=lambda folder: True) == run_id
    assert only_run(project).info.status == "FINISHED"
