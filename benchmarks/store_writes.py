"""How many values of metrics a store takes from many runs at once, and how long a request waits.

python -m benchmarks.store_writes http://mlflow.example.org:5000

The runs that it makes stay, in an experiment of their own.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

from mlflow.entities import Metric

from expkit.tracking import store

EXPERIMENT = "store_writes"
METRICS = 5  # of a step

# Not "spawn": importing MLflow in each process would take longer than what is measured.
PROCESSES = multiprocessing.get_context("fork")
TOGETHER = 60.0  # seconds, within which all clients have opened their runs


def main() -> None:
    """A line for each size of a batch and number of clients."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_writes", description=__doc__)
    parser.add_argument("uri", help="of the store, as MLFLOW_TRACKING_URI")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--batches", type=int, nargs="+", default=[METRICS, 100, 1000])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two requests")
    given = parser.parse_args()
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # of each run, at its end
    print("clients  batch   values/s  p50 ms  p95 ms  open ms")
    for batch in given.batches:
        for clients in given.clients:
            opened, waits, seconds = measured(given.uri, clients, batch, given.seconds, given.pause)
            rate = len(waits) * batch / seconds
            p50, p95 = statistics.median(waits), statistics.quantiles(waits, n=20)[-1]
            print(
                f"{clients:7}  {batch:5}  {rate:9.0f}  {1e3 * p50:6.1f}  {1e3 * p95:6.1f}  "
                f"{1e3 * statistics.median(opened):7.1f}",
                flush=True,
            )


def measured(
    uri: str, clients: int, batch: int, seconds: float, pause: float
) -> tuple[list[float], list[float], float]:
    """Seconds for opening each run, for each request of all, and for all of it together."""
    start = PROCESSES.Barrier(clients, timeout=TOGETHER)
    with ProcessPoolExecutor(clients, PROCESSES, _begin_at, (start,)) as pool:
        done = [pool.submit(_write, uri, batch, seconds, pause) for _ in range(clients)]
        opened, waits, begins, ends = zip(*(one.result() for one in done), strict=True)
    return list(opened), [wait for of_one in waits for wait in of_one], max(ends) - min(begins)


_start: Barrier  # of a client's process


def _begin_at(start: Barrier) -> None:
    global _start
    _start = start


def _write(
    uri: str, batch: int, seconds: float, pause: float
) -> tuple[float, list[float], float, float]:
    """One client: seconds to open its run, those of each request, when it began and ended."""
    client = store.connect(uri)
    experiment = store.experiment_id(client, EXPERIMENT)
    before = time.perf_counter()
    run = client.create_run(experiment, tags=store.owner_tags()).info.run_id
    opened = time.perf_counter() - before
    step = 0
    waits: list[float] = []
    _start.wait()
    begin = time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds or len(waits) < 2:
        values = []
        for _ in range(batch // METRICS):
            step += 1
            values += [Metric(f"train/metric_{n}", 0.5, step, step) for n in range(METRICS)]
        client.log_batch(run, metrics=values)
        waits.append(time.perf_counter() - now)
        time.sleep(pause)
    end = time.perf_counter()
    client.set_terminated(run)
    return opened, waits, begin, end


if __name__ == "__main__":
    main()
