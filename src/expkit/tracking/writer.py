"""What a run writes into MLflow, and the files that it keeps."""

import json
import shlex
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_LOGGED_ARTIFACTS
from pandas import DataFrame

from expkit.config.project import run_folder
from expkit.data.splits import Split
from expkit.metrics import outcomes
from expkit.metrics.names import escaped, key_of
from expkit.metrics.outcomes import Outcomes, Report
from expkit.metrics.pictures import drawn
from expkit.processes.group import from_main
from expkit.processes.interrupts import ends_first
from expkit.processes.shortage import shortage
from expkit.terminal.display import say
from expkit.terminal.errors import Pruned, UserError, reason
from expkit.terminal.secrets import hidden, hidden_in, without_password
from expkit.tracking import note, outbox, store
from expkit.tracking.environment import environment
from expkit.tracking.outbox import Outbox
from expkit.tracking.past import DATA_CONTEXT, ERROR, INTERRUPTED, PRUNED
from expkit.tracking.views import announce_run

ERROR_LIMIT = 500  # characters of the tag that says why a run failed
DIGEST_LENGTH = 32  # characters; MLflow takes 36
ENVIRONMENT = "environment.json"  # an artifact
FACTS = "facts.json"  # in the folder of a run: what decides its result


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
        self._command = ""
        self._outbox = Outbox(client, run_id, self.folder)
        self._tables: list[dict[str, str]] = []
        self._pictures: list[tuple[str, str, Callable[[Path], None]]] = []

    def start(self, position: int | None = 0, command: str = "") -> None:
        """Begin to write.

        Args:
            position: what `position()` said at the moment from which a run goes on; None: its end.
            command: as it was typed, for the description; empty if nothing was.
        """
        self._outbox.start(keep=position)
        self._command = command
        self.describe(note.note_of_failure(note.UNFINISHED, note.WHILE_UNFINISHED, command))

    def keep_facts(self, facts: Mapping[str, Any]) -> None:
        """What decides the result, for a run that is to go on."""
        file = self.folder / FACTS
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(file)

    def fact(self, name: str, default: Any) -> Any:
        """One of those that were kept, in all processes of the run."""
        kept = json.loads((self.folder / FACTS).read_text(encoding="utf-8"))
        return from_main(lambda: kept.get(name, default))

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

    def describe(self, text: str) -> None:
        """The description of the run, in Markdown, in place of the one that it had."""
        self.tag(note.NOTE, hidden(text)[: note.NOTE_LIMIT])

    def log_config(self, params: Mapping[str, str], runnable: Mapping[str, Any]) -> None:
        """The config as parameters, and as a file that `--config-name run` runs again.

        Called once more when it is known what `precision=auto` stands for. MLflow would refuse to
        change a parameter, and of two files of one place the thread might send the second one only.
        """
        values = dict(params)
        if values.get("precision") == "auto":
            del values["precision"]
        self._outbox.put({"kind": "params", "values": values})
        text = yaml.safe_dump(hidden_in(dict(runnable)), sort_keys=False, allow_unicode=True)
        self._log_text(text, f"{runnable.get('precision')}/run.yaml")

    def log_environment(self) -> None:
        """Versions and hardware, which `expkit.reproduce` holds against those of its own run."""
        facts = environment()
        if MLFLOW_GIT_COMMIT in facts:
            self.tag(MLFLOW_GIT_COMMIT, facts[MLFLOW_GIT_COMMIT])
        self._log_text(json.dumps(facts, indent=2), ENVIRONMENT)

    def log_data(self, splits: Mapping[str, Split]) -> None:
        """Name, source and digest of each split as an input of the run."""
        values = []
        for name, split in splits.items():
            source, profile = {"uri": split.source}, {"num_rows": len(split)}
            texts = {"source": json.dumps(source), "profile": json.dumps(profile)}
            known = {"name": split.name, "digest": split.digest[:DIGEST_LENGTH]}
            values.append((name, {**known, "source_type": "local", **texts}))
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

    def log_predictions(self, task: Any, predictions: list[Any], data: Any, folder: str) -> None:
        """What a task shows of its predictions on a set of examples, and what its metrics saw."""
        self.log_report(task.report(predictions, data.split, data.encoded), folder)
        if made := task.outcomes(predictions, data.split, data.encoded):
            self.log_outcomes(made, folder)

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
            if status == "FAILED":
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
        """The disk may be full; what is put into the outbox is then sent all the same."""
        is_pruned, is_interrupted = isinstance(error, Pruned), isinstance(error, KeyboardInterrupt)
        why = INTERRUPTED if is_interrupted else hidden(reason(error))
        what_next = note.AFTER_SIGNAL if is_interrupted else note.AFTER_FAILURE
        what_next = note.AFTER_PRUNING if is_pruned else what_next
        with suppress(OSError):
            self.tag(*((PRUNED, "true") if is_pruned else (ERROR, why[:ERROR_LIMIT])))
        with suppress(OSError):
            self.describe(note.note_of_failure(why, what_next, self._command))
        with suppress(OSError):
            if not is_pruned and not is_interrupted:
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

    def fact(self, name: str, default: Any) -> Any:
        """One of those that the main process keeps."""
        return from_main(lambda: default)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(Run, name):
            raise AttributeError(name)
        return lambda *args, **kwargs: None
