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

from expkit.config.fingerprint import differences, digest_of_facts
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
from expkit.terminal.secrets import hidden
from expkit.tracking import outbox, past, store
from expkit.tracking.logged import find_run
from expkit.tracking.writer import FACTS, Run, SilentRun

AnyRun = Run | SilentRun


def finished_before(cfg: DictConfig, fingerprint: str) -> Outcome | None:
    """The outcome of the newest run of that experiment that came to its end, after saying so."""
    return from_main(lambda: _finished_before(cfg, fingerprint))


def _finished_before(cfg: DictConfig, fingerprint: str) -> Outcome | None:
    client = store.connect(cfg.tracking.uri)
    experiments = [store.experiment_id(client, cfg.tracking.experiment)]
    for run in past.runs_with(client, experiments, past.FINGERPRINT, fingerprint):
        if run.info.status == "FINISHED":
            say(f"finished before: run {run.info.run_name} ({run.info.run_id}), so not run again")
            value = result_of(run.data.metrics, cfg.objective)
            return Outcome("finished", run.info.run_id, math.nan if value is None else value)
    return None


@contextmanager
def open_run(
    settings: Mapping[str, Any],
    name: str,
    facts: Mapping[str, Any],
    resume: str,
    can_go_on: Callable[[Path], bool] = lambda folder: False,
) -> Iterator[AnyRun]:
    """A run that ends as FINISHED, as FAILED with the traceback, or as KILLED when interrupted.

    One that is pruned ends as KILLED with a tag that says so. The run has to be started. Of several
    processes the main one opens it.

    Args:
        facts: what decides the result; see expkit.config.fingerprint.
        resume: "never", but a job that its sweep launches again goes on; "auto": a run of the same
            facts that was cut off goes on; or its id.
        can_go_on: whether the folder of a run that has failed holds a state to go on from.

    Raises:
        UserError: there is no such run, or it cannot go on.
    """
    if not is_main():
        silent = SilentRun(*from_main(lambda: ("", "", False)))  # which the main one makes
        with failures_told(silent.folder), _explained(silent, can_go_on):
            yield silent
        return
    client = store.connect(settings["uri"])
    experiment = store.experiment_id(client, settings["experiment"])
    cut_off = _to_go_on(client, experiment, facts, resume, can_go_on)
    tags = {
        **store.owner_tags(),
        **store.source_tags(),
        past.FINGERPRINT: digest_of_facts(facts),
        past.FOLDER: os.path.relpath(Path.cwd(), project_root()),
        **sweep_tags(),
    }
    if cut_off:
        run = _gone_on_with(client, cut_off, tags, can_go_on)
    else:
        run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        try:
            run = Run(client, run_id, name)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
    if file := job_context().announce_in:
        Path(file).write_text(run.id, encoding="utf-8")
    try:
        if not (run.folder / FACTS).exists():
            run.keep_facts(facts)
        from_main(lambda: (run.id, run.name, run.goes_on))
        with failures_told(run.folder), _explained(run, can_go_on):
            say(f"run {run.name} ({run.id})")
            yield run
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Pruned)
        try:
            ignore_termination()  # by a launcher that ends the others of a run that fails
            run.close("KILLED" if interrupted else "FAILED", error)
        except (MlflowException, OSError, UserError) as second:
            say(f"the end of the run could not be logged: {second}")  # the first error matters
        raise
    run.close("FINISHED")


@contextmanager
def _explained(tracked: AnyRun, can_go_on: Callable[[Path], bool]) -> Iterator[None]:
    """Say what to do after an interruption, and when the machine was too small."""
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
    """End a run whose process cannot: send what it had to say, and that it has failed.

    Args:
        why: what is known, unless another of its processes has left word.
        is_certain: whether `why` is better than what the run says itself.

    Returns:
        Whether it had ended by itself.
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


def _gone_on_with(
    client: MlflowClient,
    earlier: MlflowRun,
    tags: Mapping[str, str],
    can_go_on: Callable[[Path], bool],
) -> Run:
    run_id, folder = earlier.info.run_id, run_folder(earlier.info.run_id)
    # One that was killed while it sent its last entries has its last checkpoint, and sends them again.
    is_unsent = earlier.info.status == "KILLED" and outbox.has_finished(folder)
    if is_unsent and not can_go_on(folder):
        raise UserError(
            f"run {run_id} has finished, but MLflow does not know all of it: "
            "python -m expkit.sync sends the rest"
        )
    # From here nobody else writes it.
    run = Run(client, run_id, earlier.info.run_name, goes_on=True)
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    if past.ERROR in earlier.data.tags:
        client.delete_tag(run_id, past.ERROR)
    client.update_run(run_id, status="RUNNING")
    return run


def _to_go_on(
    client: MlflowClient,
    experiment: str,
    facts: Mapping[str, Any],
    resume: str,
    can_go_on: Callable[[Path], bool],
) -> MlflowRun | None:
    if resume in ("never", "auto"):
        newest = past.newest_run(client, experiment, digest_of_facts(facts))
        if newest is None:
            return None
        has_state = can_go_on(run_folder(newest.info.run_id))
        # A job of a sweep, which is an earlier attempt at the one that this process carries out.
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
    run = find_run(client, resume)
    run_id = run.info.run_id
    refusals = {
        f"was deleted; {store.restoring(client, 'run', run_id)}": store.is_deleted(run),
        "is a sweep; it goes on with the same command and resume=auto": past.is_sweep(run),
        "has finished; a new run can start from its weights, with a new optimizer and schedule: give "
        f"model=checkpoint model.path={run_folder(run_id) / 'model'}"
        " in place of all other options of model": run.info.status == "FINISHED",
        # Of a folder that is not shared nobody here can know; its name says that the user does.
        "is running": run.info.status == "RUNNING" and bool(outbox.is_written(run_folder(run_id))),
        "was ended by its search": past.is_pruned(run),
        f"has no folder {run_folder(run_id)}": not (run_folder(run_id) / FACTS).is_file(),
    }
    for why, holds in refusals.items():
        if holds:
            raise UserError(f"resume={resume}: run {run_id} {why}")
    then = json.loads((run_folder(run_id) / FACTS).read_text(encoding="utf-8"))
    if facts.get("precision") == "auto":
        facts = {**facts, "precision": then.get("precision")}  # it goes on in what it has taken
    if changed := differences(then, facts):
        raise ConfigError(
            [f"resume={resume}: what decides the result of run {run_id} has changed", *changed]
        )
    return run


def sweep_tags() -> dict[str, str]:
    """Of a job: where it belongs, and its overrides. Both come to it in the environment."""
    job = job_context()
    if not job.sweep:
        return {}
    tags = {
        "mlflow.parentRunId": job.sweep,
        past.SWEEP: job.sweep,
        past.OVERRIDES: hidden(job.overrides),
    }
    return {**tags, past.TRIAL: job.trial} if job.trial else tags
