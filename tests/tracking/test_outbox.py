"""What is sent arrives complete, in order and once, whatever MLflow does meanwhile."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from expkit.terminal.errors import UserError
from expkit.tracking import outbox, store
from expkit.tracking.entries import send
from expkit.tracking.outbox import Outbox, read


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return store.connect(None)


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return str(client.create_run(store.experiment_id(client, "x")).info.run_id)


@pytest.fixture
def opened(client: MlflowClient, run_id: str, tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(client, run_id, tmp_path)
    yield box
    box.close(wait=0.0)


def steps(client: MlflowClient, run_id: str, name: str = "train/loss") -> list[int]:
    return [metric.step for metric in client.get_metric_history(run_id, name)]


class Away:
    """Between a client and its store: requests fail, before or after they have been carried out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away, self.takes_it = False, False
        self.attempts = 0
        self.carried_out: list[tuple[str, int]] = []
        log_batch = MlflowClient.log_batch

        def request(client: MlflowClient, *arguments: Any, **options: Any) -> None:
            was_away = self.is_away
            if was_away:
                self.attempts += 1
                if not self.takes_it:
                    raise ConnectionError("no route to host")
            log_batch(client, *arguments, **options)
            self.carried_out += [(metric.key, metric.step) for metric in options["metrics"]]
            if was_away:
                raise ConnectionError("no route to host")

        monkeypatch.setattr(MlflowClient, "log_batch", request)
        monkeypatch.setattr(outbox, "FLUSH_AFTER", 0.01)
        monkeypatch.setattr(outbox, "FIRST_WAIT", 0.02)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(monkeypatch)


def wait_for(holds: Any) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_everything_has_arrived_when_it_is_closed(
    client: MlflowClient, run_id: str, tmp_path: Path
) -> None:
    box = Outbox(client, run_id, tmp_path)
    box.start()
    for step in range(2500):
        box.log({"train/loss": 1 / (step + 1), "train/rate": step}, step)
    assert box.close() == 0
    assert steps(client, run_id) == list(range(2500))
    assert client.get_metric_history(run_id, "train/loss")[1].value == 0.5


def test_nothing_waits_for_it_and_all_is_sent_when_it_is_back(
    client: MlflowClient, run_id: str, opened: Outbox, away: Away, capsys: Any
) -> None:
    opened.start()
    opened.log({"train/loss": 1.0}, 0)
    wait_for(lambda: steps(client, run_id) == [0])
    away.is_away = True
    started = time.perf_counter()
    for step in range(1, 200):
        opened.log({"train/loss": 1.0}, step)
    assert time.perf_counter() - started < 1.0
    wait_for(lambda: away.attempts >= 3)
    away.is_away = False
    assert opened.close() == 0
    assert steps(client, run_id) == list(range(200))
    said = capsys.readouterr().out
    assert said.count("MLflow does not answer (no route to host)") == 1
    assert said.count("MLflow answers again") == 1


def test_what_was_taken_without_an_answer_is_not_sent_twice(
    client: MlflowClient, run_id: str, opened: Outbox, away: Away
) -> None:
    opened.start()
    away.is_away = away.takes_it = True
    for step in range(50):
        opened.log({"train/loss": 1.0, "train/rate": 2.0}, step)
    wait_for(lambda: away.attempts >= 1)
    away.is_away = False
    assert opened.close() == 0
    for name in ("train/loss", "train/rate"):
        assert steps(client, run_id, name) == list(range(50))
    # MLflow itself takes two equal values for one; not all stores do.
    assert len(away.carried_out) == len(set(away.carried_out)) == 100


def test_what_is_left_is_sent_by_another_process(
    client: MlflowClient, run_id: str, tmp_path: Path, away: Away
) -> None:
    first = Outbox(client, run_id, tmp_path)
    first.start()
    first.log({"train/loss": 1.0}, 0)
    wait_for(lambda: steps(client, run_id) == [0])
    away.is_away = True
    for step in (1, 2):
        first.log({"train/loss": 1.0}, step)
    first.put({"kind": "tags", "values": {"x": "y"}})
    first.put({"kind": "end", "status": "FINISHED", "time": 1})
    assert first.close(wait=0.1) > 0
    assert client.get_run(run_id).info.status == "RUNNING"
    away.is_away = False
    second = Outbox(client, run_id, tmp_path)
    second.start()
    assert second.close() == 0
    assert steps(client, run_id) == [0, 1, 2]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert client.get_run(run_id).data.tags["x"] == "y"


def test_an_outbox_that_has_no_time_for_a_second_attempt_says_why(
    opened: Outbox, away: Away, capsys: pytest.CaptureFixture[str]
) -> None:
    away.is_away = True
    opened.log({"train/loss": 1.0}, 0)
    assert opened.close(wait=0.0) == 1
    assert away.attempts == 1
    assert "MLflow does not answer (no route to host)" in capsys.readouterr().out


def test_a_run_that_goes_on_sends_nothing_twice(
    client: MlflowClient, run_id: str, tmp_path: Path
) -> None:
    """It comes once more to the steps behind its checkpoint, and to the metrics of its last step."""
    first = Outbox(client, run_id, tmp_path)
    first.start()
    for step in range(4):
        first.log({"train/loss": step / 10}, step)
    kept = first.position()
    for step in range(4, 7):
        first.log({"train/loss": step / 10}, step)
    first.close()
    second = Outbox(client, run_id, tmp_path)
    second.start(keep=kept)
    for step in range(4, 9):
        second.log({"train/loss": step / 10}, step)
    second.log({"train/loss": 0.8}, 8)
    second.close()
    assert steps(client, run_id) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]
    written = [step for entry in read(tmp_path / outbox.FILE) for *_, step in entry["values"]]
    assert written == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_what_mlflow_refuses_is_raised_and_the_run_has_failed(
    client: MlflowClient, run_id: str, tmp_path: Path
) -> None:
    box = Outbox(client, run_id, tmp_path)
    box.start()
    box.log({"not a * name": 1.0}, 1)
    box.put({"kind": "end", "status": "FINISHED", "time": 1})
    assert box.close() == 0
    with pytest.raises(MlflowException, match="not a"):
        box.raise_failure()
    assert client.get_run(run_id).info.status == "FAILED"


def test_a_terminal_that_is_gone_ends_no_sending(
    client: MlflowClient,
    run_id: str,
    opened: Outbox,
    away: Away,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(message: str) -> None:
        raise SystemExit(1)  # as rich does

    monkeypatch.setattr(outbox, "say", broken)
    opened.start()
    away.is_away = True
    opened.log({"train/loss": 1.0}, 0)
    wait_for(lambda: away.attempts >= 2)
    away.is_away = False
    opened.log({"train/loss": 1.0}, 1)
    assert opened.close() == 0
    assert steps(client, run_id) == [0, 1]


def test_a_file_that_was_removed_makes_no_step_missing(
    client: MlflowClient, run_id: str, tmp_path: Path
) -> None:
    first = Outbox(client, run_id, tmp_path)
    first.start()
    for step in range(3):
        first.log({"train/loss": 1.0}, step)
    kept = first.position()
    first.close()
    assert outbox.is_all_sent(tmp_path)
    (tmp_path / outbox.FILE).unlink()
    second = Outbox(client, run_id, tmp_path)
    second.start(keep=kept)
    second.log({"train/loss": 1.0}, 3)
    assert not outbox.is_all_sent(tmp_path)
    second.close()
    assert steps(client, run_id) == [0, 1, 2, 3]
    assert outbox.is_all_sent(tmp_path)


def test_an_entry_that_mlflow_cannot_take_does_not_block_the_others(
    client: MlflowClient, run_id: str, tmp_path: Path, away: Away, monkeypatch: Any
) -> None:
    def always_500(*_: Any) -> None:
        raise MlflowException("Internal Server Error")

    monkeypatch.setattr(MlflowClient, "set_tag", always_500)
    monkeypatch.setattr(outbox, "LONGEST_WAIT", 0.05)
    box = Outbox(client, run_id, tmp_path)
    box.start()
    box.put({"kind": "tags", "values": {"x": "y"}})
    box.log({"train/loss": 1.0}, 1)
    box.put({"kind": "end", "status": "FINISHED", "time": 1})
    assert box.close() == 0
    assert steps(client, run_id) == [1]
    assert client.get_run(run_id).info.status == "FAILED"
    with pytest.raises(MlflowException, match="Internal Server Error"):
        box.raise_failure()


def test_runs_may_bring_the_same_data_at_the_same_moment(client: MlflowClient) -> None:
    """MLflow itself refuses some of them: without the lock this fails nine times of ten."""
    experiment = store.experiment_id(client, "x")
    for digest in range(10):
        ids = [client.create_run(experiment).info.run_id for _ in range(8)]
        facts = {"name": "demo", "digest": str(digest), "source_type": "local", "source": "{}"}
        entry = {"kind": "inputs", "context": "data", "values": [("train", facts)]}
        start = threading.Barrier(len(ids))

        def bring(run_id: str, entry: Any = entry, start: threading.Barrier = start) -> None:
            start.wait()
            send(client, run_id, entry)

        with ThreadPoolExecutor(len(ids)) as threads:
            list(threads.map(bring, ids))  # raises what one of them raised
        for run_id in ids:
            (known,) = client.get_run(run_id).inputs.dataset_inputs
            assert known.dataset.digest == str(digest)


def test_only_one_process_writes_a_run(
    client: MlflowClient, run_id: str, opened: Outbox, tmp_path: Path
) -> None:
    def second() -> None:
        with pytest.raises(UserError, match="another process is writing it"):
            Outbox(client, run_id, tmp_path)
        refused.set()

    refused = threading.Event()
    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert refused.is_set()


def test_a_line_that_was_cut_off_is_left_out(
    client: MlflowClient, run_id: str, tmp_path: Path
) -> None:
    file = tmp_path / outbox.FILE
    file.write_text('{"kind": "tags", "values": {"x": "y"}}\n{"kind": "ta', encoding="utf-8")
    assert [entry["values"] for entry in read(file)] == [{"x": "y"}]
    box = Outbox(client, run_id, tmp_path)
    box.start()
    box.log({"train/loss": 1.0}, 1)
    assert box.close() == 0
    assert [entry["kind"] for entry in read(file)] == ["tags", "metrics"]
    assert client.get_run(run_id).data.tags["x"] == "y"
