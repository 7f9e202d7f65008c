"""Send what a run logs to MLflow: each entry is first written to a file, and then sent by a thread, in order.

Training never waits for MLflow. While MLflow does not answer, the thread tries again. If entries are left in
`outbox.jsonl` when the run ends, `python -m expkit.sync` sends them later.
"""

import json
import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric
from mlflow.exceptions import MlflowException

from expkit.terminal.display import say
from expkit.terminal.errors import UserError, shortened
from expkit.tracking.entries import Entry, send

FILE = "outbox.jsonl"  # in the folder of a run
SENT = ".sent"  # suffix of a file beside it, with the size of outbox.jsonl when all had arrived
TO_SEND = "to_send"  # folder in the folder of a run, for artifacts until MLflow has them
BATCH_LIMIT = 1000  # metrics in one request, which is MLflow's own limit
FLUSH_AFTER = 1.0  # seconds for which metrics are gathered into one request
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds between attempts while MLflow is away
TELL_AT = 2  # failed attempts after which the user is told; one may be a clash with another run
ATTEMPTS = 6  # failed attempts after which an entry is given up, if MLflow answers other requests
WAIT_AT_END = 30.0  # seconds to wait for an MLflow that is away when the run ends

# Codes of errors that another attempt would get again.
FINAL = (
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE",
)


class Outbox:
    """The entries of one run; only one process at a time can open them.

    Each value of a metric is sent once, and in order. MLflow says how many values of a metric have arrived,
    and that many are skipped after a request whose answer got lost, or when a run that goes on repeats steps.
    Any other entry may be sent again.
    """

    def __init__(self, client: MlflowClient, run_id: str, folder: Path) -> None:
        self._client = client
        self._run_id = run_id
        self._path = folder / FILE
        self._lock = lock_of(folder)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"run {run_id}: another process is writing it") from None
        self._file = self._path.open("a", encoding="utf-8")
        self._queue: queue.Queue[Entry | None] = queue.Queue()
        self._arrived: Counter[str] | None = None  # values of each metric in MLflow, if known
        self._passed: Counter[str] = Counter()  # values of each metric that are sent or skipped
        self._is_short = False  # the file has lost entries
        self._clock, self._put_lock = 0, threading.Lock()
        self._failure: Exception | None = None
        self._give_up_at = self._leave_at = float("inf")
        self._closing = threading.Event()
        self.unsent = 1  # entries that could not be sent; the thread sets it at its end
        self.is_deleted = False  # somebody has deleted the run in MLflow, and may restore it
        self._thread = threading.Thread(target=self._send_all, name="outbox", daemon=True)

    def start(self, keep: int | None = None) -> None:
        """Start sending, beginning with the entries that the file already holds.

        `keep` cuts the file to so many bytes, the length that a checkpoint saved; None keeps all of it.
        """
        content = self._path.read_bytes()[:keep]
        self._is_short = keep is not None and len(content) < keep
        os.truncate(self._path, content.rfind(b"\n") + 1)  # the last line may be incomplete
        for entry in read(self._path):
            self._queue.put(entry)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry and write it to the file; an OSError means that only the writing failed."""
        with self._put_lock:  # two threads log if the system is watched
            self._queue.put(entry)
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()  # from here on the entry survives this process

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Put an entry with the metrics of one step."""
        # MLflow keeps only one of two equal values with the same step and millisecond.
        self._clock = max(int(time.time() * 1000), self._clock + 1)
        values = [(name, float(value), self._clock, step) for name, value in metrics.items()]
        self.put({"kind": "metrics", "values": values})

    def position(self) -> int:
        """Return how many bytes are written; from here on they survive a power cut too."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self, wait: float = WAIT_AT_END) -> int:
        """Send what is left, and return how many entries could not be sent.

        `wait` is how many seconds to wait for an MLflow that is away. If all has arrived, the files of a run
        that has finished are removed; those of a run that may go on are kept, and marked as sent.
        """
        self._give_up_at = min(self._give_up_at, time.monotonic() + wait)
        self._closing.set()
        if self._thread.ident is None:
            self.start()
        self._queue.put(None)
        while self._thread.is_alive() and time.monotonic() < self._leave_at:
            self._thread.join(0.1)
        with suppress(OSError):  # the disk is full, and `put` has said so
            self._file.close()
        if self._thread.is_alive():  # it still sends, so the lock is kept until this process ends
            return max(self._queue.qsize(), 1)
        self._lock.release()
        if not self.unsent and self._failure is None:
            self._tidy_up()
        return self.unsent

    def hurry(self, seconds: float) -> None:
        """Make `close` return within so many seconds, even if entries are left."""
        self._leave_at = min(self._leave_at, time.monotonic() + seconds)
        self._give_up_at = min(self._give_up_at, self._leave_at)

    def _tidy_up(self) -> None:
        if has_finished(self._path.parent):
            for file in (self._path, self._path.with_suffix(SENT), Path(self._lock.lock_file)):
                file.unlink(missing_ok=True)
            shutil.rmtree(self._path.parent / TO_SEND, ignore_errors=True)
        else:
            size = str(self._path.stat().st_size)
            self._path.with_suffix(SENT).write_text(size, encoding="utf-8")

    def raise_failure(self) -> None:
        """Raise the first error by which MLflow has refused an entry."""
        if self._failure is not None:
            raise self._failure

    def _send_all(self) -> None:
        waiting: list[Entry] = []
        for entry in self._batches():
            if waiting or not self._delivered(entry):
                waiting.append(entry)
        self.unsent = len(waiting)

    def _batches(self) -> Iterator[Entry]:
        """Yield entries as they come, and join metrics that follow each other into one entry."""
        values: list[Any] = []
        deadline = float("inf")
        while True:
            left = min(max(deadline - time.monotonic(), 0.0), 3600.0)
            try:
                entry = self._queue.get(timeout=left)
            except queue.Empty:
                entry = {"kind": "metrics", "values": []}
            if entry is not None and entry["kind"] == "metrics":
                if not values:
                    deadline = time.monotonic() + FLUSH_AFTER
                values += entry["values"]
                if len(values) < BATCH_LIMIT and time.monotonic() < deadline:
                    continue
            while values:
                yield {"kind": "metrics", "values": values[:BATCH_LIMIT]}
                values = values[BATCH_LIMIT:]
            deadline = float("inf")
            if entry is None:
                return
            if entry["kind"] != "metrics":
                yield entry

    def _delivered(self, entry: Entry) -> bool:
        """Send one entry, repeatedly if need be; returns False if MLflow stays away until the end."""
        wait, attempts = FIRST_WAIT, 0
        while True:
            try:
                self._send(entry)
            except Exception as error:  # the training thread raises it, by `raise_failure`
                attempts += 1
                tried = attempts >= ATTEMPTS and entry["kind"] != "metrics"
                if (tried or not may_pass(error)) and self._takes_entries():
                    self._failure = self._failure or error
                    return True
                gives_up = time.monotonic() + wait > self._give_up_at
                gives_up = gives_up or (self.is_deleted and self._closing.is_set())
                told = attempts == TELL_AT or (gives_up and attempts < TELL_AT)
                if told and not self.is_deleted:  # the run tells the user that it was deleted
                    shown = shortened(str(error).partition("\n")[0], 200)
                    _tell(
                        f"MLflow does not answer ({shown}); training goes on, and its entries wait "
                        f"in {self._path}"
                    )
                self._arrived = None  # MLflow may have stored values although it sent no answer
                if gives_up:
                    return False
                if self._closing.is_set():
                    time.sleep(min(wait, 1.0))
                else:
                    self._closing.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if attempts >= TELL_AT:
                    _tell("MLflow answers again; the waiting entries have been sent")
                return True

    def _takes_entries(self) -> bool:
        """Return whether MLflow answers and the run is not deleted, so that the entry itself is wrong."""
        try:
            stage = self._client.get_run(self._run_id).info.lifecycle_stage
        except (MlflowException, OSError):
            return False
        self.is_deleted = stage == LifecycleStage.DELETED
        return not self.is_deleted

    def _send(self, entry: Entry) -> None:
        if entry["kind"] == "end" and self._failure is not None:
            entry = {**entry, "status": "FAILED"}  # the run is not complete
        if entry["kind"] != "metrics":
            send(self._client, self._run_id, entry)
            return
        if self._arrived is None:
            self._arrived = stored_values(self._client, self._run_id)
            if self._is_short:  # somebody has removed the file, so its entries count as sent
                self._passed, self._is_short = Counter(self._arrived), False
        new, passed = [], Counter(self._passed)
        for name, value, timestamp, step in entry["values"]:
            passed[name] += 1
            if passed[name] > self._arrived[name]:
                new.append(Metric(name, value, timestamp, step))
        if new:
            self._client.log_batch(self._run_id, metrics=new)
        self._passed = passed


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file, except a last one that was cut off in the middle."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def lock_of(folder: Path) -> FileLock:
    """Return the lock that a process holds while it writes the run in `folder`."""
    return FileLock(folder / f"{FILE}.lock")


def is_written(folder: Path) -> bool | None:
    """Return whether a process has the run in `folder` open; None if the run has no lock here."""
    lock = lock_of(folder)
    if not Path(lock.lock_file).exists():
        return None
    try:
        with lock.acquire(timeout=0):
            return False
    except OSError:  # the lock is held, or cannot be read
        return True


def is_all_sent(folder: Path) -> bool:
    """Return whether all entries of the run in `folder` have arrived in MLflow."""
    mark, file = (folder / FILE).with_suffix(SENT), folder / FILE
    return mark.exists() and mark.read_text(encoding="utf-8") == str(file.stat().st_size)


def has_finished(folder: Path) -> bool:
    """Return whether the run in `folder` has finished, although MLflow may not know it."""
    file = folder / FILE
    ends = [entry for entry in read(file) if entry["kind"] == "end"] if file.exists() else []
    return bool(ends) and ends[-1]["status"] == "FINISHED"


def stored_values(client: MlflowClient, run_id: str) -> Counter[str]:
    """Return how many values MLflow has of each metric of a run."""
    names = client.get_run(run_id).data.metrics
    return Counter({name: len(client.get_metric_history(run_id, name)) for name in names})


def may_pass(error: Exception) -> bool:
    """Return whether another attempt may succeed: no connection, a server in trouble, a locked database."""
    if isinstance(error, MlflowException):
        return error.error_code not in FINAL
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)


def _tell(message: str) -> None:
    """Print a message, unless the terminal is gone: that must not end the thread."""
    with suppress(Exception, SystemExit):
        say(message)
