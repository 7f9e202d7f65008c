"""Find the runs to compare: those of a sweep, or those that the user names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from expkit.comparison.groups import DIGEST, EVALUATED, ComparedRun
from expkit.metrics.result import with_final
from expkit.terminal.errors import UserError
from expkit.tracking.logged import data_digests, evaluated, find_run
from expkit.tracking.note import Row
from expkit.tracking.params import config_of
from expkit.tracking.past import (
    ERROR,
    FINGERPRINT,
    KIND,
    MOST_RUNS,
    SWEEP,
    is_sweep,
    runs_with,
    tag_of,
)
from expkit.tracking.store import connect, experiment_ids

TABLE = "sweep/jobs.json"  # an artifact of the parent run of a sweep that has ended
GLUE = "sweep/glue.json"  # another one, if the jobs were tasks of GLUE
NOT_OVERRIDES = ("job", "value", "best", "state", "seconds", "objective", "run", "error")

Table = tuple[list[str], list[list[Any]]]  # its header, and its rows


@dataclass(frozen=True)
class Selection:
    """The runs to compare. `pair` says that the user named exactly two runs and no sweep.

    `sweeps` are the parent runs, and `glue` has the table of GLUE of each, by its name, without rows if it made none.
    """

    title: str
    sweeps: Sequence[MlflowRun]
    jobs: Sequence[ComparedRun]
    pair: bool
    glue: Mapping[str, Table]


def select(ids: Sequence[str]) -> Selection:
    """Return the runs with these ids, and the jobs of sweeps among them; by default the last sweep.

    Raises:
        UserError: an id names no run or several, or there is nothing to compare.
    """
    client = connect(None)
    chosen = [find_run(client, run_id) for run_id in dict.fromkeys(ids)] or [_last_sweep(client)]
    jobs: dict[str, ComparedRun] = {}
    for run in chosen:
        for job in _jobs_of(client, run) if is_sweep(run) else [_job(run)]:
            jobs[job.run_id or job.name] = job
    if not jobs:
        raise UserError(f"run {chosen[0].info.run_id} ({_name(chosen[0])}): has no jobs yet")
    sweeps = {f"{_name(run)} ({run.info.run_id[:8]})": run for run in chosen if is_sweep(run)}
    title = ", ".join(sweeps)
    pair = len(chosen) == len(jobs) == 2 and not title
    tables = {name: _table(run, GLUE) for name, run in sweeps.items()}
    return Selection(title, list(sweeps.values()), list(jobs.values()), pair, tables)


def every_run() -> list[ComparedRun]:
    """Return all runs of expkit in the store that are no sweeps, the newest first."""
    client = connect(None)
    found = client.search_runs(experiment_ids(client), max_results=MOST_RUNS)
    return [_job(r) for r in found if tag_of(r.data.tags, FINGERPRINT) and not is_sweep(r)]


def _last_sweep(client: MlflowClient) -> MlflowRun:
    newest = next(runs_with(client, experiment_ids(client), KIND, "sweep"), None)
    if newest is None:
        raise UserError(
            "there is no sweep yet: python -m expkit -m optimizer=adamw,sgd makes one; "
            "or name the runs to compare"
        )
    return newest


def _jobs_of(client: MlflowClient, parent: MlflowRun) -> Iterator[ComparedRun]:
    """Yield the newest run of each job, then the jobs that have no run in this sweep."""
    newest: dict[str, MlflowRun] = {}
    for run in runs_with(client, [parent.info.experiment_id], SWEEP, parent.info.run_id):
        newest.setdefault(tag_of(run.data.tags, FINGERPRINT, run.info.run_id), run)
    columns, cells = _table(parent, TABLE)
    rows = [dict(zip(columns, row, strict=True)) for row in cells]
    chosen = {row["job"]: _chosen(row) for row in rows}
    for run in reversed(newest.values()):
        yield _job(run, _name(run), chosen.get(_name(run), {}))
    names = {_name(run) for run in newest.values()}
    for row in rows:
        name = row["job"]
        if name not in names and not row["run"]:
            yield _not_started(row)
        elif name not in names:  # it had finished before the sweep began
            run = client.get_run(row["run"])
            if tag_of(run.data.tags, FINGERPRINT) not in newest:
                yield _job(run, name, _chosen(row))


def _table(parent: MlflowRun, path: str) -> Table:
    """Return a table of the sweep; there are none before the sweep has ended."""
    try:
        table = mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/{path}")
    except (MlflowException, OSError):
        return [], []
    return table["columns"], table["data"]


def _job(run: MlflowRun, name: str = "", chosen: Mapping[str, str] | None = None) -> ComparedRun:
    digests = {f"data.{split}{DIGEST}": d[:8] for split, d in data_digests(run).items()}
    later = {f"{EVALUATED}.{of}": digest[:8] for of, digest in evaluated(run).items()}
    return ComparedRun(
        name or _name(run),
        run.info.run_id,
        run.info.status,
        run.data.tags.get(ERROR, ""),
        {**config_of(run.data.params), **digests, **later},
        with_final(run.data.metrics),
        chosen or {},
    )


def jobs_of_rows(client: MlflowClient, rows: Sequence[Row]) -> list[ComparedRun]:
    """Return the runs of a sweep that is about to end."""
    found = {row.run_id: row for row in rows if row.run_id}.values()  # trials may share a run
    return [_job(client.get_run(row.run_id), row.name, row.differing) for row in found]


def _not_started(row: Mapping[str, Any]) -> ComparedRun:
    params = {"objective": str(row["objective"])}
    return ComparedRun(row["job"], "", row["state"], row["error"], params, {}, _chosen(row))


def _chosen(row: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in row.items() if key not in NOT_OVERRIDES}


def _name(run: MlflowRun) -> str:
    return str(run.info.run_name)
