"""The parent run of a sweep, and what its jobs have logged to MLflow."""

import shlex
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from filelock import Timeout
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

from expkit.comparison import plot
from expkit.comparison.groups import grouped
from expkit.comparison.verdict import Verdict
from expkit.config.glue import task_in
from expkit.config.project import COMMON, run_folder
from expkit.metrics.names import key_of
from expkit.metrics.pictures import drawn
from expkit.metrics.result import final_of, result_of
from expkit.processes.context import job_context
from expkit.processes.interrupts import ends_first
from expkit.terminal.display import say
from expkit.terminal.secrets import redacted, without_address
from expkit.tracking import past, store
from expkit.tracking.jobs import jobs_of_rows
from expkit.tracking.logged import artifact_of
from expkit.tracking.note import NOTE, Row, note_of
from expkit.tracking.outbox import lock_of
from expkit.tracking.params import params_of_command
from expkit.tracking.registry import register
from expkit.tracking.verdicts import Judged, Runs, judged, standings_of, verdicts_of
from expkit.tracking.views import announce, keep_sweep, page_of
from expkit.tracking.writer import tables_tag, write_table

if TYPE_CHECKING:
    from expkit.sweeps.plan import PlannedJob

SWEEP_FINGERPRINT = "mlflow.expkit.sweep_fingerprint"
STOPPED = "mlflow.expkit.stopped"  # "true" on the parent run when no other job is to start
BEST, BEST_RUN = "expkit.best", "mlflow.expkit.best_run"
SECONDS_TO_END = 20.0  # for jobs after SIGTERM
DIED = "its process died; only the system's log can say why"


@dataclass(frozen=True)
class SweepRun:
    """The parent run of a sweep."""

    _client: MlflowClient
    _experiment: str
    id: str
    name: str
    _resume: bool  # whether jobs count as done that have finished before, in any sweep
    _trusted: frozenset[str]  # packages from which metrics may come

    def is_done(self, job: "PlannedJob") -> bool:
        """Tell whether the job need not run, because it has finished or another process runs it."""
        return self._resume and self._elsewhere(job) is not None

    def rows(self, jobs: "Sequence[PlannedJob]") -> list[Row]:
        """Describe the state of each job."""
        store.close_abandoned(self._client)
        newest: dict[str, MlflowRun] = {}
        runs = self._runs(past.SWEEP, self.id, ViewType.ALL)
        for run in sorted(runs, key=store.is_deleted):
            newest.setdefault(past.tag_of(run.data.tags, past.FINGERPRINT), run)
        return [self._row(job, newest.get(job.fingerprint)) for job in jobs]

    def judge(self, rows: Sequence[Row], **how: Any) -> list[Judged]:
        """Judge the configurations of the jobs that have finished."""
        groups = grouped(jobs_of_rows(self._client, rows))
        return verdicts_of(groups, self._trusted, self._client, **how)

    def verdict(self, runs: Mapping[str, Runs], config: Mapping[str, Any], level: float) -> Verdict:
        """Judge configurations by their runs so far; see `judged`."""
        contest = key_of(config["objective"]), config["direction"], self._trusted
        return judged(runs, *contest, level=level, client=self._client)

    def conclude(
        self,
        rows: Sequence[Row],
        best: Sequence[Row],
        judged: Sequence[Judged],
        words: Sequence[str],
    ) -> None:
        """Log the table of jobs, their counts, the best jobs, the verdict and the sweep's view in the UI.

        Prints where the view is.

        Args:
            best: the jobs with the best value.
            words: the verdict.
        """
        marked = marked_of(best, judged)
        page = partial(page_of, self._experiment)
        places = keep_sweep(self._client, self._experiment, self.id, self.name, rows)
        of_best = [run_id for row in best for run_id in row.runs or [row.run_id]]
        finished = [row for row in rows if row.state == "FINISHED"]
        pruned = sum(row.state == "PRUNED" for row in rows)
        failed = len(rows) - len(finished) - pruned
        counts: dict[str, float] = {"sweep/finished": len(finished), "sweep/failed": failed}
        if pruned:
            counts["sweep/pruned"] = pruned
        if len({row.contest for row in best}) == 1 and best[0].value is not None:
            counts["sweep/best"] = best[0].value
        with store.unless_deleted(self._client, self.id):
            self._log_table(_columns(rows, marked), "jobs.json")
            if of_all := [standing for each in judged for standing in _standings(each)]:
                columns = {key: [standing[key] for standing in of_all] for key in of_all[0]}
                self._log_table(columns, "verdict.json")
                self._log_picture(judged)
            for name, value in counts.items():
                self._client.log_metric(self.id, name, value)
            for row in finished:
                if self._owns(row.run_id):
                    with store.unless_deleted(self._client, row.run_id):
                        self._client.set_tag(row.run_id, BEST, str(row.run_id in marked).lower())
            self._client.set_tag(self.id, NOTE, note_of(rows, best, page, places, words, marked))
            if best:
                self._client.set_tag(self.id, BEST_RUN, " ".join(of_best))
        announce(self._client, {"page": page(self.id), **places}, width=9)
        self._register_models(finished, best)

    def remove_common(self, run_id: str) -> None:
        """Remove what a job has kept for a longer run, unless it is the job of another sweep."""
        if self._owns(run_id):
            shutil.rmtree(run_folder(run_id) / COMMON, ignore_errors=True)

    def _owns(self, run_id: str) -> bool:
        return bool(self._client.get_run(run_id).data.tags.get(past.SWEEP) == self.id)

    def log_folds(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Log the scores over folds as a table, and those of the only configuration as metrics too."""
        with store.unless_deleted(self._client, self.id):
            columns = {name: [record[name] for record in records] for name in records[0]}
            self._log_table(columns, "folds.json")
            if len({record["configuration"] for record in records}) > 1:
                return
            for record in records:
                for kind in ("mean", "sd", "pooled", "low", "high"):
                    if record[kind] is not None:
                        key = key_of(f"folds/{record['metric']}_{kind}")
                        self._client.log_metric(self.id, key, record[kind])

    def log_cells(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table with at least one row, such as that of the GLUE benchmark."""
        by_column = map(list, zip(*rows, strict=True))
        with store.unless_deleted(self._client, self.id):
            self._log_table(dict(zip(columns, by_column, strict=True)), name)

    def _log_table(self, columns: Mapping[str, list[Any]], name: str) -> None:
        """Log a table that the UI shows as such; MLflow's `log_table` would append to an earlier one."""
        with TemporaryDirectory() as folder:
            write_table(columns, file := Path(folder, name))
            self._client.log_artifact(self.id, str(file), "sweep")
        tags = self._client.get_run(self.id).data.tags
        for key, value in tables_tag(tags, [f"sweep/{name}"]).items():
            self.tag(key, value)

    def _log_picture(self, judged: Sequence[Judged]) -> None:
        with TemporaryDirectory() as folder:
            file = Path(folder, "verdict.png")
            groups = [group for each in judged for group in each.groups.values()]
            if drawn(partial(plot.draw, groups, standings_of(judged)), file):
                self._client.log_artifact(self.id, str(file), "sweep")

    def artifact(self, run_id: str, path: str) -> Path | None:
        """Return a file that a job has logged, or None if there is none."""
        return artifact_of(self._client.get_run(run_id), path)

    def _register_models(self, finished: Sequence[Row], best: Sequence[Row]) -> None:
        """Give the alias to the best job, and register those that had finished before; the others have done so."""
        for asked in dict.fromkeys(row.register for row in finished if row.register):
            name, _, alias = asked.partition("@")
            top = [row for row in best if row.register == asked]
            if alias and len(top) == 1 and not top[0].runs:
                register(self._client, top[0].run_id, name, alias)
            elif alias and top:
                say(f"{asked} stays as it is: {len(top)} jobs are best, or one with several folds")
            for run_id in dict.fromkeys(row.run_id for row in finished if row.register == asked):
                register(self._client, run_id, name, "")

    def end_jobs(self) -> None:
        """Ask the jobs on this host to stop after their current steps, and wait until they have."""
        deadline = time.monotonic() + SECONDS_TO_END
        asked: set[str] = set()
        while time.monotonic() < deadline:
            store.close_abandoned(self._client)
            runs = self._runs(past.SWEEP, self.id, ViewType.ALL)
            of_others = (run for run in runs if store.is_other_process_here(run.data.tags))
            running = [run for run in of_others if run.info.status == "RUNNING"]
            for run in running:
                if run.info.run_id not in asked:
                    store.terminate_owner(run.data.tags)
                    asked.add(run.info.run_id)
            if not running:
                return
            time.sleep(0.2)

    def end_lost(self, job: "PlannedJob") -> None:
        """Close the run of a job whose process has ended, perhaps on another machine."""
        for run in self._runs(past.SWEEP, self.id):
            is_open = run.info.status == "RUNNING"
            if is_open and past.tag_of(run.data.tags, past.FINGERPRINT) == job.fingerprint:
                self._client.set_terminated(run.info.run_id, status="KILLED")

    def stop(self) -> None:
        """Let no other job start."""
        self.tag(STOPPED, "true")

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the parent run."""
        with store.unless_deleted(self._client, self.id):
            self._client.set_tag(self.id, name, value)

    def _runs(self, tag: str, value: str, view: int = ViewType.ACTIVE_ONLY) -> Iterator[MlflowRun]:
        return past.runs_with(self._client, [self._experiment], tag, value, view)

    def _elsewhere(self, job: "PlannedJob") -> MlflowRun | None:
        """Return a finished or else a running run of the job, from any sweep of the experiment."""
        runs = list(self._runs(past.FINGERPRINT, job.fingerprint))
        finished = next((run for run in runs if run.info.status == "FINISHED"), None)
        is_running = bool(runs) and runs[0].info.status == "RUNNING"
        return finished or (runs[0] if is_running else None)

    def _row(self, job: "PlannedJob", run: MlflowRun | None) -> Row:
        of, objective = job.config, str(job.config["objective"])
        if self._resume and (run is None or run.info.status != "FINISHED"):
            run = self._elsewhere(job) or run
        if run is None:
            return Row(job.name, job.differing, "NOT STARTED", objective, error="was not started")
        state = "PRUNED" if past.is_pruned(run) else run.info.status
        error = ""
        if store.is_deleted(run):
            state, error = "DELETED", store.restoring(self._client, "run", run.info.run_id)
        if state in ("FAILED", "KILLED"):
            error = run.data.tags.get(past.ERROR, DIED if state == "KILLED" else "")
        end = run.info.end_time
        return Row(
            job.name,
            job.differing,
            state,
            objective,
            task=f"{of.get('task', {}).get('_target_', '')} {task_in(of.get('data', {}))}".strip(),
            direction=str(of.get("direction", "")),
            value=result_of(run.data.metrics, objective) if state == "FINISHED" else None,
            run_id=run.info.run_id,
            seconds=(end - run.info.start_time) / 1000 if end else None,
            error=error,
            metrics=run.data.metrics,
            register=of.get("tracking", {}).get("register") or "",
        )


def marked_of(best: Sequence[Row], judged: Sequence[Judged]) -> set[str]:
    """Return the ids of the runs that cannot be told from the best; without a verdict, those of the best."""
    of_contests = {each.contest for each in judged}
    marked = {job.run_id for each in judged for group in each.surviving() for job in group.jobs}
    others = [
        row
        for row in best
        if (row.task, key_of(final_of(row.objective)), row.direction) not in of_contests
    ]
    return marked | {run_id for row in others for run_id in row.runs or [row.run_id]}


def _standings(judged: Judged) -> list[dict[str, Any]]:
    """Return a record for each configuration that was judged."""
    return [
        {"objective": judged.contest[1], **asdict(each)} for each in judged.standings().values()
    ]


def _columns(rows: Sequence[Row], marked: Collection[str]) -> dict[str, list[Any]]:
    """Return the table of all jobs, with the columns first that the UI shows without scrolling."""
    columns: dict[str, list[Any]] = {
        "job": [row.name for row in rows],
        "value": [row.value for row in rows],
        "best": [row.run_id in marked for row in rows],
        "state": [row.state for row in rows],
        "seconds": [row.seconds for row in rows],
        "objective": [row.objective for row in rows],
    }
    for key in dict.fromkeys(key for row in rows for key in row.differing):
        columns[key] = [row.differing.get(key, "") for row in rows]
    columns["run"] = [row.run_id for row in rows]
    columns["error"] = [row.error for row in rows]
    return columns


@contextmanager
def open_sweep(
    config: Mapping[str, Any], fingerprint: str, name: str, command: Sequence[str]
) -> Iterator[SweepRun]:
    """Open the parent run, which with `resume=auto` is the one of the same sweep before.

    It ends as FINISHED, as FAILED after an exception, or as KILLED after an interrupt.

    Args:
        config: that of one of the jobs.
        command: the overrides as they were typed.
    """
    settings = config["tracking"]
    client = store.connect(settings["uri"])
    experiment = store.experiment_id(client, settings["experiment"])
    resume = config["resume"] == "auto"
    tags = {
        **store.owner_tags(),
        **store.source_tags(),
        past.KIND: "sweep",
        SWEEP_FINGERPRINT: fingerprint,
        past.OVERRIDES: redacted(shlex.join(shown := without_address(command))),
    }
    earlier = next(past.runs_with(client, [experiment], SWEEP_FINGERPRINT, fingerprint), None)
    if resume and earlier:
        run_id = earlier.info.run_id
        for key, value in {**tags, STOPPED: "false"}.items():
            client.set_tag(run_id, key, value)
        client.update_run(run_id, status="RUNNING")
    else:
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        of_jobs = [override for override in shown if not override.lstrip("+~").startswith("hydra")]
        for key, value in params_of_command(of_jobs).items():
            client.log_param(run_id, key, value)
    lock = lock_of(run_folder(run_id))
    with suppress(Timeout):  # another process may run the same sweep
        lock.acquire(timeout=0)
    trusted = frozenset(config["trusted_modules"])
    opened = SweepRun(client, experiment, run_id, name, resume, trusted)
    try:
        yield opened
    except KeyboardInterrupt:
        with ends_first():
            opened.end_jobs()  # SIGTERM may have reached the sweep alone
            store.end(client, run_id, "KILLED")
        raise
    except BaseException:
        store.end(client, run_id, "FAILED")
        raise
    store.end(client, run_id, "FINISHED")


def stop_sweep(settings: Mapping[str, Any]) -> None:
    """Let no other job start in the sweep of this job."""
    client, sweep = store.connect(settings["uri"]), job_context().sweep or ""
    with store.unless_deleted(client, sweep):
        client.set_tag(sweep, STOPPED, "true")


def is_stopped(settings: Mapping[str, Any]) -> bool:
    """Tell whether this job is not to start."""
    parent = store.connect(settings["uri"]).get_run(job_context().sweep)
    return past.tag_of(parent.data.tags, STOPPED) == "true"


def earlier_value(config: Mapping[str, Any], fingerprint: str) -> float | None:
    """Return the objective of an earlier run of this job, if one has finished.

    It must belong to the same experiment and sweep; with `resume=auto`, any sweep will do.
    """
    client = store.connect(config["tracking"]["uri"])
    experiment = store.experiment_id(client, config["tracking"]["experiment"])
    for run in past.runs_with(client, [experiment], past.FINGERPRINT, fingerprint):
        ours = run.data.tags.get(past.SWEEP) == job_context().sweep
        if run.info.status == "FINISHED" and (ours or config["resume"] == "auto"):
            return result_of(run.data.metrics, str(config["objective"]))
    return None
