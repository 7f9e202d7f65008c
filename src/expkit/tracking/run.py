"""Open a run, or go on with one, and close it in a state that says how it ended."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from omegaconf import DictConfig
from safetensors import SafetensorError

from expkit.config.fingerprint import differences, digest_of_values, without_length
from expkit.config.project import project_root, run_folder
from expkit.metrics.result import result_of
from expkit.processes.context import job_context
from expkit.processes.group import failure_told, failures_told, from_main
from expkit.processes.interrupts import ignore_termination
from expkit.processes.outcome import Outcome
from expkit.processes.ranks import is_main
from expkit.processes.shortage import is_out_of_memory, out_of_disk
from expkit.terminal.display import say
from expkit.terminal.errors import ConfigError, Pruned, UserError
from expkit.terminal.secrets import redacted
from expkit.tracking import outbox, past, store
from expkit.tracking.continued import parent_of
from expkit.tracking.logged import find_run
from expkit.tracking.registry import register, target_of
from expkit.tracking.writer import IDENTITY, Run, SilentRun

AnyRun = Run | SilentRun
CanGoOn = Callable[[Path], bool]  # says whether the folder of a run holds a state to go on from


def finished_before(cfg: DictConfig, fingerprint: str) -> Outcome | None:
    """Return the outcome of the newest finished run with this fingerprint, after saying its name."""

    def look() -> Outcome | None:
        client = store.connect(cfg.tracking.uri)
        experiments = [store.experiment_id(client, cfg.tracking.experiment)]
        for run in past.runs_with(client, experiments, past.FINGERPRINT, fingerprint):
            if run.info.status == "FINISHED":
                if asked := cfg.tracking.get("register"):
                    register(client, run.info.run_id, *target_of(asked))
                named = f"{run.info.run_name} ({run.info.run_id})"
                say(f"finished before: run {named}, so not run again")
                value = result_of(run.data.metrics, cfg.objective)
                return Outcome("finished", run.info.run_id, math.nan if value is None else value)
        return None

    return from_main(look)


@contextmanager
def open_run(
    settings: Mapping[str, Any],
    name: str,
    identity: Mapping[str, Any],
    resume: str,
    can_go_on: CanGoOn = lambda folder: False,
) -> Iterator[AnyRun]:
    """Open a run that ends as FINISHED, as FAILED with the traceback, or as KILLED when interrupted.

    A run that its search prunes ends as KILLED, with a tag that says so. Of several processes only the main
    one opens the run. The caller has to start it.

    Args:
        identity: what decides the result; expkit.config.fingerprint computes it.
        resume: "auto" goes on with a run of the same identity that was cut off, and an id with that run.
            "never" does so only for a job that its sweep launches again.
    """
    if not is_main():
        silent = SilentRun(*from_main(lambda: ("", "", False)))  # the main process sends the values
        with failures_told(silent.folder), _explained(silent, can_go_on):
            yield silent
        return
    run = _opened(settings, name, identity, resume, can_go_on)
    try:
        if not (run.folder / IDENTITY).exists():
            run.keep_identity(identity)
        from_main(lambda: (run.id, run.name, run.goes_on))
        with failures_told(run.folder), _explained(run, can_go_on):
            say(f"run {run.name} ({run.id})")
            yield run
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Pruned)
        try:
            ignore_termination()  # a launcher sends it to all processes as soon as one has failed
            run.close("KILLED" if interrupted else "FAILED", error)
        except (MlflowException, OSError, UserError) as second:
            say(f"the end of the run could not be logged: {second}")  # the first error is raised
        raise
    run.close("FINISHED")


def _opened(
    settings: Mapping[str, Any],
    name: str,
    identity: Mapping[str, Any],
    resume: str,
    can_go_on: CanGoOn,
) -> Run:
    """Create the run in MLflow, or take the one to go on with."""
    client = store.connect(settings["uri"])
    experiment = store.experiment_id(client, settings["experiment"])
    parent = parent_of(client, experiment, identity, resume)
    if parent or resume in ("never", "auto"):
        earlier = _cut_off_before(client, experiment, identity, resume, can_go_on)
    else:
        earlier = _chosen(client, resume, identity)
    tags = {
        **store.owner_tags(),
        **store.source_tags(),
        past.FINGERPRINT: digest_of_values(identity),
        past.FOLDER: os.path.relpath(Path.cwd(), project_root()),
        **_job_tags(identity),
    }
    if earlier:
        run = _gone_on_with(client, earlier, tags, can_go_on)
    else:
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        try:
            run = Run(client, run_id, name)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
    continued = earlier.data.tags.get(past.CONTINUES) if earlier else None
    if parent and not can_go_on(run.folder):
        parent.hand_over(client, run)
        continued = parent.id
    if continued:
        run.remark = f"\n\nContinues run {continued}."
    if file := job_context().announce_in:
        Path(file).write_text(run.id, encoding="utf-8")
    return run


def _cut_off_before(
    client: MlflowClient,
    experiment: str,
    identity: Mapping[str, Any],
    resume: str,
    can_go_on: CanGoOn,
) -> MlflowRun | None:
    """Return the newest run of the same identity if this one goes on with it."""
    newest = past.newest_run(client, experiment, digest_of_values(identity))
    if newest is None:
        return None
    has_state = can_go_on(run_folder(newest.info.run_id))
    # Of a job of a sweep, this is an earlier attempt if it belongs to the same sweep.
    is_ours = newest.data.tags.get(past.SWEEP, "") == job_context().sweep
    if resume == "never" and not (is_ours and has_state):
        return None
    if newest.info.status == "RUNNING":
        say(
            f"run {newest.info.run_id} of the same experiment is running on "
            f"{past.tag_of(newest.data.tags, store.HOST)}, so a new one begins; if it is dead, "
            f"resume={newest.info.run_id} goes on with it"
        )
    has_failed = newest.info.status == "FAILED" and has_state
    return newest if past.was_cut_off(newest) or has_failed else None


def _chosen(client: MlflowClient, resume: str, identity: Mapping[str, Any]) -> MlflowRun:
    """Return the run that the user wants to go on with, or raise a UserError if it cannot."""
    run = find_run(client, resume)
    run_id, folder = run.info.run_id, run_folder(run.info.run_id)
    # Whether a process on another machine is alive cannot be known; the user who names its run says it is not.
    is_running = run.info.status == "RUNNING" and bool(outbox.is_written(folder))
    refusals = {
        f"was deleted; {store.restoring(client, 'run', run_id)}": store.is_deleted(run),
        "is a sweep; it goes on with the same command and resume=auto": past.is_sweep(run),
        "is running": is_running,
        "was ended by its search": past.is_pruned(run),
        f"has no folder {folder}": not (folder / IDENTITY).is_file(),
    }
    for why, holds in refusals.items():
        if holds:
            raise UserError(f"resume={resume}: run {run_id} {why}")
    then = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    if identity.get("precision") == "auto":
        identity = {**identity, "precision": then.get("precision")}  # the run keeps its format
    if changed := differences(then, identity):
        raise ConfigError(
            [f"resume={resume}: what decides the result of run {run_id} has changed", *changed]
        )
    return run


def _gone_on_with(
    client: MlflowClient, earlier: MlflowRun, tags: Mapping[str, str], can_go_on: CanGoOn
) -> Run:
    run_id, folder = earlier.info.run_id, run_folder(earlier.info.run_id)
    # A run that was killed while it sent its last entries still has its checkpoint, and sends them again.
    is_unsent = earlier.info.status == "KILLED" and outbox.has_finished(folder)
    if is_unsent and not can_go_on(folder):
        raise UserError(
            f"run {run_id} has finished, but MLflow does not know all of it: "
            "python -m expkit.sync sends the rest"
        )
    run = Run(
        client, run_id, earlier.info.run_name, goes_on=True
    )  # from here on no other process writes it
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    if past.ERROR in earlier.data.tags:
        client.delete_tag(run_id, past.ERROR)
    client.update_run(run_id, status="RUNNING")
    return run


def _job_tags(identity: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a job: the sweep and the chain it belongs to, its trial, and its overrides."""
    job = job_context()
    if not job.sweep:
        return {}
    tags = {
        "mlflow.parentRunId": job.sweep,
        past.SWEEP: job.sweep,
        past.CHAIN: digest_of_values(without_length(identity)),
        past.OVERRIDES: redacted(job.overrides),
    }
    return {**tags, past.TRIAL: job.trial} if job.trial else tags


@contextmanager
def _explained(tracked: AnyRun, can_go_on: CanGoOn) -> Iterator[None]:
    """Tell the user what to do after an interruption, and when disk or memory was too small."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; resume=auto or resume={tracked.id} with the same command goes on")
        raise
    except (OSError, SafetensorError, RuntimeError, MemoryError) as error:
        hint = "; the last checkpoint is whole: resume=auto goes on from there"
        again = hint if can_go_on(tracked.folder) else ""
        if why := out_of_disk(error):
            raise UserError(f"{why} ({tracked.folder}){again}") from error
        if is_out_of_memory(error):
            raise UserError(
                "out of memory; try a smaller train.batch_size with more train.accumulation, a "
                f"smaller eval.batch_size, or shorter inputs (task.max_length){again}"
            ) from error
        raise


def end_for(settings: Mapping[str, Any], run_id: str, why: str, is_certain: bool) -> bool:
    """End a run whose process has died, and return whether it had ended by itself.

    `why` is the reason, unless one of its processes has left another and `is_certain` is false.
    """
    client = store.connect(settings["uri"])
    found = client.get_run(run_id)
    has_ended = found.info.status in ("FAILED", "FINISHED")
    if not has_ended:
        run = Run(client, run_id, found.info.run_name, goes_on=True)
        run.start(None)
        told = None if is_certain else failure_told(run.folder)
        run.close("FAILED", told or UserError(why))
    elif is_certain and found.info.status == "FAILED":
        client.set_tag(run_id, past.ERROR, why)
    return has_ended
