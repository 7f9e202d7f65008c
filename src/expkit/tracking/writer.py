"""Metrics go to MLflow in batches from a thread of their own, so that no step waits for it."""

import queue
import threading
import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric

BATCH_LIMIT = 1000  # metrics in one request, MLflow's own limit
FLUSH_AFTER = 1.0  # seconds


class MetricWriter:
    """Collects metrics and sends them in order; `close` returns when all have arrived."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._queue: queue.Queue[Metric | threading.Event | None] = queue.Queue()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._send_all, name="metrics", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the metrics of one step.

        Raises:
            Exception: what an earlier request failed with.
        """
        self._raise_failure()
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            self._queue.put(Metric(name, float(value), now, step))

    def flush(self) -> None:
        """Wait until everything that is queued has been sent. Raises what a request failed with."""
        sent = threading.Event()
        self._queue.put(sent)
        sent.wait()
        self._raise_failure()

    def close(self) -> None:
        """Wait until everything is sent. Raises what a request failed with."""
        self._queue.put(None)
        self._thread.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _send_all(self) -> None:
        is_open = True
        while is_open:
            batch: list[Metric] = []
            flushed: threading.Event | None = None
            deadline = time.monotonic() + FLUSH_AFTER
            while is_open and flushed is None and len(batch) < BATCH_LIMIT:
                try:
                    entry = self._queue.get(timeout=max(deadline - time.monotonic(), 0.0))
                except queue.Empty:
                    break
                if entry is None:
                    is_open = False
                elif isinstance(entry, threading.Event):
                    flushed = entry
                else:
                    batch.append(entry)
            self._send(batch)
            if flushed is not None:
                flushed.set()

    def _send(self, batch: list[Metric]) -> None:
        if batch and self._failure is None:
            try:
                self._client.log_batch(self._run_id, metrics=batch)
            except Exception as error:  # handed to the training thread, which raises it
                self._failure = error
