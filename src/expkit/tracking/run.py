"""One run in MLflow, from its start to a state that says how it ended."""

import json
import os
import platform
import shlex
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS
from pandas import DataFrame

from expkit.config.fingerprint import differences, digest_of_facts
from expkit.config.project import project_root, run_folder
from expkit.data.splits import Split
from expkit.display import say
from expkit.errors import ConfigError, Pruned, UserError, reason
from expkit.faults import shortage
from expkit.interrupts import ends_first, ignore_termination
from expkit.metrics import outcomes
from expkit.metrics.outcomes import Outcomes
from expkit.names import escaped, key_of
from expkit.pictures import drawn
from expkit.processes import failure_told, from_main
from expkit.ranks import is_main
from expkit.secrets import hidden, hidden_in, without_password
from expkit.tasks.interface import Report
from expkit.tracking import outbox, store
from expkit.tracking.logged import find_run
from expkit.tracking.outbox import Outbox
from expkit.tracking.params import params_of
from expkit.tracking.past import (
    DATA_CONTEXT,
    ERROR,
    FINGERPRINT,
    FOLDER,
    INTERRUPTED,
    KIND,
    OVERRIDES,
    OVERRIDES_VARIABLE,
    PRUNED,
    SWEEP,
    SWEEP_VARIABLE,
    TRIAL,
    TRIAL_VARIABLE,
    finished_run,
    is_pruned,
    newest_run,
    was_cut_off,
)

ERROR_LIMIT = 500  # characters of the tag that says why a run failed
DIGEST_LENGTH = 32  # characters; MLflow takes 36
FACTS = "facts.json"  # in the folder of a run: what decides its result
PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "mlflow", "hydra-core")


class Run:
    """Writes one MLflow run, and keeps its files in `folder`.

    Nothing here waits for MLflow; all is there when the run is closed, if MLflow can be reached.
    """

    def __init__(self, client: MlflowClient, run_id: str, name: str, goes_on: bool = False) -> None:
        self.id = run_id
        self.name = name
        self.goes_on = goes_on
        self.folder = run_folder(run_id)
        self.folder.mkdir(parents=True, exist_ok=goes_on)
        self._client = client
        self._address = str(client.tracking_uri)
        self._outbox = Outbox(client, run_id, self.folder)
        self._tables: list[dict[str, str]] = []
        self._pictures: list[tuple[str, str, Callable[[Path], None]]] = []

    def start(self, position: int | None = 0) -> None:
        """Begin to write.

        Args:
            position: what `position()` said at the moment from which a run goes on; None: its end.
        """
        self._outbox.start(keep=position)

    def keep_facts(self, facts: Mapping[str, Any]) -> None:
        """What decides the result, for a run that is to go on."""
        file = self.folder / FACTS
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(file)

    def fact(self, name: str, default: Any) -> Any:
        """One of those that were kept."""
        return json.loads((self.folder / FACTS).read_text(encoding="utf-8")).get(name, default)

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics of a step. Raises what MLflow has refused so far."""
        self._outbox.raise_failure()
        self._outbox.log({key_of(name): value for name, value in metrics.items()}, step)

    def position(self) -> int:
        """How much has been logged; all of it is on disk when this returns."""
        return self._outbox.position()

    def is_deleted(self) -> bool:
        """Whether somebody has deleted it in MLflow."""
        return self._outbox.is_deleted

    def tag(self, name: str, value: str) -> None:
        """A fact about the run."""
        self._outbox.put({"kind": "tags", "values": {key_of(name): value}})

    def log_config(self, config: Mapping[str, Any], runnable: Mapping[str, Any]) -> None:
        """The flat config as parameters, and as a file that `--config-name run` runs again.

        Called once more when it is known what `precision=auto` stands for. MLflow would refuse to
        change a parameter, and of two files of one place the thread might send the second one only.
        """
        values = {param.key: param.value for param in params_of(config)}
        if values.get("precision") == "auto":
            del values["precision"]
        self._outbox.put({"kind": "params", "values": values})
        text = yaml.safe_dump(hidden_in(dict(runnable)), sort_keys=False, allow_unicode=True)
        self._log_text(text, f"{config.get('precision')}/run.yaml")

    def log_data(self, splits: Mapping[str, Split]) -> None:
        """Name, source and digest of each split as an input of the run."""
        values = [
            (
                name,
                {
                    "name": split.name,
                    "digest": split.digest[:DIGEST_LENGTH],
                    "source_type": "local",
                    "source": json.dumps({"uri": split.source}),
                    "profile": json.dumps({"num_rows": len(split)}),
                },
            )
            for name, split in splits.items()
        ]
        self._outbox.put({"kind": "inputs", "context": DATA_CONTEXT, "values": values})

    def log_report(self, report: Report, folder: str) -> None:
        """Tables, which the UI shows as such, and facts; pictures wait for `draw`."""
        for name, columns in report.tables.items():
            file = self._file(f"{folder}/{escaped(name)}.json")
            DataFrame(columns).to_json(file, orient="split", index=False, date_format="iso")
            self._log_file(file, folder)
            self._tables.append({"path": f"{folder}/{file.name}", "type": "table"})
        if report.tables:
            self.tag(MLFLOW_LOGGED_ARTIFACTS, json.dumps(self._tables))
        self._pictures += [(folder, name, draw) for name, draw in report.figures.items()]
        for name, fact in report.facts.items():
            self.tag(name, fact)

    def draw(self) -> None:
        """The pictures of all reports, when nothing else is left to be logged."""
        for folder, name, draw in self._pictures:
            file = self._file(f"{folder}/{escaped(name)}.png")
            if drawn(draw, file):
                self._log_file(file, folder)

    def log_outcomes(self, made: Sequence[Outcomes], folder: str) -> None:
        """What the metrics saw, complete, for `expkit.compare`."""
        file = self._file(f"{folder}/{outcomes.FILE}")
        outcomes.write(made, file)
        self._log_file(file, folder)

    def log_folder(self, folder: Path, name: str) -> None:
        """A folder of files as artifacts; it stays."""
        path = str(folder.relative_to(self.folder))
        self._outbox.put({"kind": "artifact", "path": path, "folder": name, "moves": False})

    def log_model(self, folder: Path, pipeline: str, example: Any) -> None:
        """The model in a folder, as one that MLflow can load and serve."""
        path = str(folder.relative_to(self.folder))
        self._outbox.put(
            {"kind": "model", "folder": path, "pipeline": pipeline, "example": example}
        )

    def close(self, status: str, error: BaseException | None = None) -> None:
        """Send what is left, and how the run ended.

        After a signal it takes half a minute at most, and after a Ctrl-C then no time at all.

        Raises:
            UserError: the disk or the memory was too small for what was to be sent.
            Exception: what MLflow has refused.
        """
        with ends_first(self._outbox.hurry):
            self._close(status, error)

    def _close(self, status: str, error: BaseException | None) -> None:
        if error is not None:
            self._say_why(error)
        with suppress(OSError):  # of a full disk: that it has ended is queued all the same
            now = int(time.time() * 1000)
            self._outbox.put({"kind": "end", "status": status, "time": now})
        unsent = self._outbox.close()
        if unsent:
            self._say_unsent(unsent)
        try:
            self._outbox.raise_failure()
        except Exception as refused:
            if why := shortage(refused):
                raise UserError(
                    f"{why}; MLflow has not got all of run {self.id}, whose files are in "
                    f"{self.folder}: resume=auto with the same command sends them again"
                ) from refused
            raise
        if not unsent:
            self._outbox.done()

    def _say_unsent(self, unsent: int) -> None:
        why, first = "MLflow has not taken all", ""
        if self._outbox.is_deleted:
            store.end(self._client, self.id, "KILLED")
            why = f"run {self.id} was deleted in MLflow"
            first = f"{store.restoring(self._client, self.id)}, and then "
        say(
            f"{why}; {unsent} entries of run {self.id} wait in "
            f"{self.folder / outbox.FILE}: {first}{self._sync_command()} sends them"
        )

    def _say_why(self, error: BaseException) -> None:
        """The disk may be full; what is put into the outbox is then sent all the same."""
        if isinstance(error, Pruned):
            with suppress(OSError):
                self.tag(PRUNED, "true")
        elif isinstance(error, KeyboardInterrupt):
            with suppress(OSError):
                self.tag(ERROR, INTERRUPTED)
        else:
            with suppress(OSError):
                self.tag(ERROR, hidden(reason(error))[:ERROR_LIMIT])
            with suppress(OSError):
                self._log_text(hidden("".join(traceback.format_exception(error))), "traceback.txt")

    def _sync_command(self) -> str:
        if self._address == store.tracking_uri(None):
            return "python -m expkit.sync"
        uri = shlex.quote(without_password(self._address))
        return f"MLFLOW_TRACKING_URI={uri} python -m expkit.sync"

    def _file(self, artifact: str) -> Path:
        """Where an artifact is written before it is sent."""
        file = self.folder / outbox.TO_SEND / artifact
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _log_text(self, text: str, artifact: str) -> None:
        file = self._file(artifact)
        file.write_text(text, encoding="utf-8")
        self._log_file(file, None)

    def _log_file(self, file: Path, folder: str | None) -> None:
        path = str(file.relative_to(self.folder))
        self._outbox.put({"kind": "artifact", "path": path, "folder": folder, "moves": True})


class SilentRun:
    """The run in a process that is not the main one: all that the main process does, it leaves out."""

    def __init__(self, run_id: str, name: str, goes_on: bool) -> None:
        self.id = run_id
        self.name = name
        self.goes_on = goes_on
        self.folder = run_folder(run_id)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(Run, name):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


AnyRun = Run | SilentRun


def finished_before(settings: Mapping[str, Any], fingerprint: str) -> MlflowRun | None:
    """The newest run of that experiment that came to its end."""
    client = store.connect(settings["uri"])
    return finished_run(client, store.experiment_id(client, settings["experiment"]), fingerprint)


@contextmanager
def open_run(
    settings: Mapping[str, Any],
    name: str,
    facts: Mapping[str, Any],
    *,
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
        yield SilentRun(*from_main(_nothing))
        return
    client = store.connect(settings["uri"])
    experiment = store.experiment_id(client, settings["experiment"])
    cut_off = _to_go_on(client, experiment, facts, resume, can_go_on)
    tags = {
        **store.owner_tags(),
        **store.source_tags(),
        **environment(),
        FINGERPRINT: digest_of_facts(facts),
        FOLDER: os.path.relpath(Path.cwd(), project_root()),
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
    _opened.append(run.id)
    if _announced_in is not None:
        _announced_in.write_text(run.id, encoding="utf-8")
    try:
        if not (run.folder / FACTS).exists():
            run.keep_facts(facts)
        from_main(lambda: (run.id, run.name, run.goes_on))
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


def _nothing() -> tuple[str, str, bool]:
    raise AssertionError  # only the main process is asked


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
        client.set_tag(run_id, ERROR, why)
    return has_ended


_announced_in: Path | None = None


def announce_to(file: Path) -> None:
    """Write the id of a run that is opened to `file`, for whoever waits for this process."""
    global _announced_in
    _announced_in = file


_opened: list[str] = []


def latest_run_id() -> str:
    """Of the run that this process has opened last."""
    return _opened[-1]


def _gone_on_with(
    client: MlflowClient,
    past: MlflowRun,
    tags: Mapping[str, str],
    can_go_on: Callable[[Path], bool],
) -> Run:
    run_id, folder = past.info.run_id, run_folder(past.info.run_id)
    # One that was killed while it sent its last entries has its last checkpoint, and sends them again.
    is_unsent = past.info.status == "KILLED" and outbox.has_finished(folder)
    if is_unsent and not can_go_on(folder):
        raise UserError(
            f"run {run_id} has finished, but MLflow does not know all of it: "
            "python -m expkit.sync sends the rest"
        )
    run = Run(client, run_id, past.info.run_name, goes_on=True)  # nobody else writes it from here
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    if ERROR in past.data.tags:
        client.delete_tag(run_id, ERROR)
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
        newest = newest_run(client, experiment, digest_of_facts(facts))
        if resume == "never" and not _is_of_this_sweep(newest, can_go_on):
            return None
        if newest and newest.info.status == "RUNNING":
            say(
                f"run {newest.info.run_id} of the same experiment is running on "
                f"{newest.data.tags.get(store.HOST)}, so a new one begins; if it is dead, "
                f"resume={newest.info.run_id} goes on with it"
            )
        failed = (
            newest and newest.info.status == "FAILED" and can_go_on(run_folder(newest.info.run_id))
        )
        return newest if newest and (was_cut_off(newest) or failed) else None
    run = find_run(client, resume)
    run_id, tags = run.info.run_id, run.data.tags
    if store.is_deleted(run):
        how = store.restoring(client, run_id)
        raise UserError(f"resume={resume}: run {run_id} was deleted; {how}")
    refusals = {
        "is a sweep; it goes on with the same command and resume=auto": tags.get(KIND) == "sweep",
        "has finished; a new run can start from its weights, with a new optimizer and schedule: give "
        f"model=checkpoint model.path={run_folder(run_id) / 'model'}"
        " in place of all other options of model": run.info.status == "FINISHED",
        # Of a folder that is not shared nobody here can know; its name says that the user does.
        "is running": run.info.status == "RUNNING" and bool(outbox.is_written(run_folder(run_id))),
        "was ended by its search": is_pruned(run),
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


def _is_of_this_sweep(run: MlflowRun | None, can_go_on: Callable[[Path], bool]) -> bool:
    """Whether it is an earlier attempt at the job that this process carries out."""
    parent = os.environ.get(SWEEP_VARIABLE)
    return bool(
        run
        and parent
        and run.data.tags.get(SWEEP) == parent
        and can_go_on(run_folder(run.info.run_id))
    )


def sweep_tags() -> dict[str, str]:
    """Of a job: where it belongs, and its overrides. Both come to it in the environment."""
    parent = os.environ.get(SWEEP_VARIABLE)
    if not parent:
        return {}
    overrides = hidden(os.environ.get(OVERRIDES_VARIABLE, ""))
    tags = {"mlflow.parentRunId": parent, SWEEP: parent, OVERRIDES: overrides}
    trial = os.environ.get(TRIAL_VARIABLE)
    return {**tags, TRIAL: trial} if trial else tags


def environment() -> dict[str, str]:
    """Versions, commit and hardware, as tags of a run."""
    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    tags = {f"version.{package}": version(package) for package in PACKAGES}
    tags |= {
        "version.expkit": version("expkit"),
        "version.python": platform.python_version(),
        "hardware.cpu": platform.processor() or platform.machine(),
        "hardware.cores": str(psutil.cpu_count()),
        "hardware.memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "hardware.threads": str(torch.get_num_threads()),
        "hardware.accelerator": accelerator,
    }
    if commit := _git("rev-parse", "HEAD"):
        tags["mlflow.source.git.commit"] = commit
        tags["git.dirty"] = str(bool(_git("status", "--porcelain"))).lower()
    return tags


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(project_root()), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
