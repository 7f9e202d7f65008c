"""Write a run into MLflow through its outbox, and keep its files."""

import json
import shlex
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_LOGGED_ARTIFACTS
from pandas import DataFrame

from expkit.config.project import run_folder
from expkit.data.splits import Splits
from expkit.metrics import outcomes
from expkit.metrics.names import escaped, key_of
from expkit.metrics.outcomes import Report
from expkit.metrics.pictures import drawn
from expkit.processes.group import from_main
from expkit.processes.interrupts import ends_first
from expkit.processes.shortage import shortage
from expkit.terminal.display import say
from expkit.terminal.errors import Pruned, UserError, reason
from expkit.terminal.secrets import redacted, redacted_in, without_password
from expkit.tracking import note, outbox, store
from expkit.tracking.environment import environment
from expkit.tracking.logged import ENVIRONMENT
from expkit.tracking.outbox import Outbox
from expkit.tracking.past import DATA_CONTEXT, ERROR, INTERRUPTED, PRUNED
from expkit.tracking.registry import target_of
from expkit.tracking.system_metrics import Monitor
from expkit.tracking.views import announce_run

ERROR_LIMIT = 500  # characters of the tag that says why a run failed
DIGEST_LENGTH = 32  # characters; MLflow allows 36
SPLIT = "data/split.json"  # an artifact: which records of one file each split has got
CPU = "system/cpu_utilization_percentage"  # a metric that each measurement of the system has
IDENTITY = "facts.json"  # a file in the folder of the run, with what decides its result


class Run:
    """Writes one MLflow run, and keeps its files in `folder`.

    No method waits for MLflow, except `close`, which returns when all has arrived or MLflow stays away.
    """

    def __init__(self, client: MlflowClient, run_id: str, name: str, goes_on: bool = False) -> None:
        self.id = run_id
        self.name = name
        self.goes_on = goes_on
        self.remark = ""  # the end of every description
        self.folder = run_folder(run_id)
        self.folder.mkdir(parents=True, exist_ok=goes_on)
        self._client = client
        self._command = ""
        self._monitor: Monitor | None = None
        self._outbox = Outbox(client, run_id, self.folder)
        self._tables: list[dict[str, str]] = []
        self._pictures: list[tuple[str, str, Callable[[Path], None]]] = []

    def start(self, position: int | None = 0, command: str = "") -> None:
        """Begin to send.

        Args:
            position: what `position()` returned at the checkpoint from which the run goes on. 0 stands for a
                new run, and None for one that goes on from its end.
            command: the command that the user typed, for the description; it may be empty.
        """
        self._outbox.start(keep=position)
        self._command = command
        self.describe(note.note_of_failure(note.UNFINISHED, note.WHILE_UNFINISHED, command))

    def keep_identity(self, identity: Mapping[str, Any]) -> None:
        """Keep what decides the result, so that a later process can check whether the run may go on."""
        file = self.folder / IDENTITY
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(identity, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(file)

    def kept(self, name: str, default: Any) -> Any:
        """Return in all processes one of the values that `keep_identity` has kept."""
        kept = json.loads((self.folder / IDENTITY).read_text(encoding="utf-8"))
        return from_main(lambda: kept.get(name, default))

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log the metrics of a step, or raise what MLflow has refused so far."""
        self._outbox.raise_failure()
        self._outbox.log({key_of(name): value for name, value in metrics.items()}, step)

    def position(self) -> int:
        """Return how much has been logged; when this returns, all of it is on disk."""
        return self._outbox.position()

    def curves(self) -> str:
        """Return all metrics so far, as the outbox of a longer run begins with them."""
        file = self.folder / outbox.FILE
        entries = outbox.read(file) if file.exists() else ()  # somebody may have removed it
        return "".join(json.dumps(e) + "\n" for e in entries if e["kind"] == "metrics")

    def is_deleted(self) -> bool:
        """Return whether somebody has deleted the run in MLflow."""
        return self._outbox.is_deleted

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        self._outbox.put({"kind": "tags", "values": {key_of(name): value}})

    def describe(self, text: str) -> None:
        """Replace the description of the run by this text in Markdown."""
        room = note.NOTE_LIMIT - len(self.remark)
        self.tag(note.NOTE, redacted(text)[:room] + self.remark)

    def log_config(self, params: Mapping[str, str], runnable: Mapping[str, Any]) -> None:
        """Log the config as parameters, and as a run.yaml that `--config-name run` runs again.

        The caller logs it twice if `precision=auto` has to be resolved first. MLflow refuses to change a
        parameter, so `auto` is not logged as one. The two files get different paths, because the thread that
        sends them could otherwise find the second file twice.
        """
        values = dict(params)
        if values.get("precision") == "auto":
            del values["precision"]
        self._outbox.put({"kind": "params", "values": values})
        text = yaml.safe_dump(redacted_in(dict(runnable)), sort_keys=False, allow_unicode=True)
        self._log_text(text, f"{runnable.get('precision')}/run.yaml")

    def log_environment(self) -> None:
        """Log versions and hardware, which `expkit.reproduce` compares with its own."""
        found = environment()
        if MLFLOW_GIT_COMMIT in found:
            self.tag(MLFLOW_GIT_COMMIT, found[MLFLOW_GIT_COMMIT])
        self._log_text(json.dumps(found, indent=2), ENVIRONMENT)

    def log_data(self, splits: Splits) -> None:
        """Log name, source and digest of each split as an input of the run, and which records it has got."""
        if splits.division:
            self._log_text(json.dumps(dict(splits.division)), SPLIT, "data")
        values = []
        for name, split in splits.named().items():
            source, profile = {"uri": split.source}, {"num_rows": len(split)}
            texts = {"source": json.dumps(source), "profile": json.dumps(profile)}
            known = {"name": split.name, "digest": split.digest[:DIGEST_LENGTH]}
            values.append((name, {**known, "source_type": "local", **texts}))
        self._outbox.put({"kind": "inputs", "context": DATA_CONTEXT, "values": values})

    def log_inspection(self, report: Mapping[str, Any]) -> None:
        """Log what was found in the data."""
        file = self._file("data/report.json")
        file.write_text(json.dumps(report, ensure_ascii=False, indent=2), encoding="utf-8")
        self._log_file(file, "data")

    def log_report(self, report: Report, folder: str) -> None:
        """Log the report's tables, which the UI shows as such, and its tags; `draw` logs the pictures."""
        for name, columns in report.tables.items():
            file = self._file(f"{folder}/{escaped(name)}.json")
            write_table(columns, file)
            self._log_file(file, folder)
            self._tables.append({"path": f"{folder}/{file.name}", "type": "table"})
        if report.tables:
            self.tag(MLFLOW_LOGGED_ARTIFACTS, json.dumps(self._tables))
        self._pictures += [(folder, name, draw) for name, draw in report.figures.items()]
        for name, fact in report.tags.items():
            # Each set has a signature of its own, which says how many references there are.
            self.tag(name if folder == "eval" else f"{folder}/{name}", fact)

    def draw(self) -> None:
        """Log the pictures of all reports; call this last, because drawing may take long."""
        for folder, name, draw in self._pictures:
            file = self._file(f"{folder}/{escaped(name)}.png")
            if drawn(draw, file):
                self._log_file(file, folder)

    def log_predictions(self, task: Any, predictions: list[Any], data: Any, folder: str) -> None:
        """Log a task's report on a split, and the outcomes that its metrics compare, for `expkit.compare`."""
        self.log_report(task.report(predictions, data.split, data.encoded), folder)
        if made := task.outcomes(predictions, data.split, data.encoded):
            file = self._file(f"{folder}/{outcomes.FILE}")
            outcomes.write(made, file)
            self._log_file(file, folder)

    def log_folder(self, folder: Path, name: str) -> None:
        """Log the files of a folder, and keep the folder."""
        path = str(folder.relative_to(self.folder))
        self._outbox.put({"kind": "artifact", "path": path, "folder": name, "moves": False})

    def log_model(self, folder: Path, task: Any, example: Any, register: str | None = None) -> None:
        """Log the model in a folder as one that MLflow can load and serve; perhaps `register` it as `name@alias`."""
        path, serving = str(folder.relative_to(self.folder)), task.serving
        if serving is not None:
            serving = {"column": task.columns[0], **serving}
        served = {"pipeline": task.pipeline, "example": example, "serving": serving}
        name = {"register_as": target_of(register)} if register else {}
        self._outbox.put({"kind": "model", "folder": path, **served, **name})

    def watch_system(self) -> None:
        """Log the use of the machine until the run is closed. A run that goes on counts on."""
        text = (self.folder / outbox.FILE).read_text(encoding="utf-8")
        self._monitor = Monitor(self.id, self._outbox.log, text.count(f'"{CPU}"'))

    def close(self, status: str, error: BaseException | None = None) -> None:
        """Send what is left, and the state in which the run ended; raise what MLflow has refused.

        A signal limits the time for that to half a minute, and a Ctrl-C after it ends the sending at once.
        """
        with ends_first(self._outbox.hurry):
            if self._monitor:
                self._monitor.finish()
            self._close(status, error)

    def _close(self, status: str, error: BaseException | None) -> None:
        if error is not None:
            self._say_why(error)
        with suppress(OSError):  # if the disk is full, the entry is queued and sent nevertheless
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
        if status == "FAILED" and not unsent:
            announce_run(self._client, self.id)

    def _say_unsent(self, unsent: int) -> None:
        why, first = "MLflow has not taken all", ""
        if self._outbox.is_deleted:
            store.end(self._client, self.id, "KILLED")
            why = f"run {self.id} was deleted in MLflow"
            first = f"{store.restoring(self._client, 'run', self.id)}, and then "
        say(
            f"{why}; {unsent} entries of run {self.id} wait in "
            f"{self.folder / outbox.FILE}: {first}{self._sync_command()} sends them"
        )

    def _say_why(self, error: BaseException) -> None:
        """Log why the run ended; a full disk stops no entry, as the outbox sends what it cannot write."""
        is_pruned, is_interrupted = isinstance(error, Pruned), isinstance(error, KeyboardInterrupt)
        why = INTERRUPTED if is_interrupted else redacted(reason(error))
        what_next = note.AFTER_SIGNAL if is_interrupted else note.AFTER_FAILURE
        what_next = note.AFTER_PRUNING if is_pruned else what_next
        with suppress(OSError):
            self.tag(*((PRUNED, "true") if is_pruned else (ERROR, why[:ERROR_LIMIT])))
        with suppress(OSError):
            self.describe(note.note_of_failure(why, what_next, self._command))
        with suppress(OSError):
            if not is_pruned and not is_interrupted:
                self._log_text(
                    redacted("".join(traceback.format_exception(error))), "traceback.txt"
                )

    def _sync_command(self) -> str:
        address = str(self._client.tracking_uri)
        if address == store.tracking_uri(None):
            return "python -m expkit.sync"
        uri = shlex.quote(without_password(address))
        return f"MLFLOW_TRACKING_URI={uri} python -m expkit.sync"

    def _file(self, artifact: str) -> Path:
        """Return the path at which an artifact waits until it is sent."""
        file = self.folder / outbox.TO_SEND / artifact
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _log_text(self, text: str, artifact: str, folder: str | None = None) -> None:
        file = self._file(artifact)
        file.write_text(text, encoding="utf-8")
        self._log_file(file, folder)

    def _log_file(self, file: Path, folder: str | None) -> None:
        path = str(file.relative_to(self.folder))
        self._outbox.put({"kind": "artifact", "path": path, "folder": folder, "moves": True})


def tables_tag(tags: Mapping[str, str], paths: Iterable[str]) -> dict[str, str]:
    """The tag that lists the tables which the UI shows as such, with some more among them."""
    shown = json.loads(tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    new = [{"path": path, "type": "table"} for path in paths]
    return {MLFLOW_LOGGED_ARTIFACTS: json.dumps([*(t for t in shown if t not in new), *new])}


def write_table(columns: Mapping[str, list[Any]], file: Path) -> None:
    """Write a table of a report as the UI of MLflow reads it."""
    frame = DataFrame(columns)
    frame.to_json(file, orient="split", index=False, date_format="iso", double_precision=15)


class SilentRun:
    """The run in a process that is not the main one: it has the methods of `Run`, which do nothing."""

    def __init__(self, run_id: str, name: str, goes_on: bool) -> None:
        self.id = run_id
        self.name = name
        self.goes_on = goes_on
        self.folder = run_folder(run_id)

    def kept(self, name: str, default: Any) -> Any:
        """Return the value that the main process has kept."""
        return from_main(lambda: default)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(Run, name):
            raise AttributeError(name)
        return lambda *args, **kwargs: None
