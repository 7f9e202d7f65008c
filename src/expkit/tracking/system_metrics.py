"""Log the use of CPU, memory, disk, network and GPU during a run, as MLflow measures it."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


class Monitor(SystemMetricsMonitor):
    """Measures in MLflow's thread, but logs to the outbox from `step` on, as MLflow's way ends when a server is away."""

    def __init__(self, run_id: str, log: Callable[[dict[str, Any], int], None], step: int) -> None:
        super().__init__(run_id)
        self._log, self._steps = log, count(step)
        self.start()

    def monitor(self) -> None:
        """Measure and log until `finish`, at least once."""
        while not self._shutdown_event.is_set():
            self.collect_metrics()
            self._shutdown_event.wait(self.sampling_interval)
            values = {f"system/{k}": v for k, v in self.aggregate_metrics().items()}
            with suppress(OSError):  # the disk is full, and the run says so
                self._log(values, next(self._steps))
            for each in self.monitors:
                each.clear_metrics()
