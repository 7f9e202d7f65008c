"""What Python users call: runs, sweeps and comparisons, with the same checks and results as on the command line.

Every call leaves its process as it was; see `untouched`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
from datasets import Dataset
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expkit import app
from expkit.commands import compare, predict
from expkit.comparison.report import Grid, all_cells, grid
from expkit.config.fingerprint import read_again
from expkit.config.project import conf_dir, decided_once, run_folder
from expkit.config.trust import trusted_by, typed_value
from expkit.data.given import Given, file_of
from expkit.data.splits import Split
from expkit.data.writing import widened
from expkit.metrics.result import VALIDATION
from expkit.sweeps.plan import quoted
from expkit.terminal.display import console
from expkit.terminal.errors import UserError, nearest, reason
from expkit.terminal.quiet import hush
from expkit.tracking.jobs import every_run, select
from expkit.tracking.logged import LoggedRun, find_run, logged_run
from expkit.tracking.model import load_model
from expkit.tracking.past import FINGERPRINT, tag_of
from expkit.tracking.store import connect
from expkit.tracking.sweep import BEST_RUN
from expkit.tracking.views import host_of, page_of
from expkit.training.evaluation import inference
from expkit.untouched import untouched


def run(
    *overrides: str,
    train: Given | None = None,
    validation: Given | None = None,
    test: Given | None = None,
) -> "Run":
    """Train, evaluate and log one experiment, as `python -m expkit` does with the same overrides.

    Args:
        overrides: such as "task=token_classification" or "optimizer.lr=1e-4".
        train: the examples, as a DataFrame, a `datasets.Dataset` or the name of a file, instead of `data=...`.
        validation: further examples to choose the best weights by; without them, `data.validation_share` says
            how many of `train` to take.
        test: further examples that the final model is scored on.

    Raises:
        ConfigError: a key, value, file or component is wrong; nothing has been trained.
        UserError: the run cannot be carried out.
        KeyboardInterrupt: the run was stopped; `resume=auto` with the same call goes on.
    """

    def task(cfg: DictConfig) -> Any:
        app.work_has_begun.set()
        try:
            if cfg.dry_run:
                raise UserError("dry_run=true: leaves no run; type python -m expkit dry_run=true")
            return app.single(cfg)
        except Exception as error:  # raised below, as Hydra would print the overrides with it
            return error

    words = _with_data(overrides, {"train": train, "validation": validation, "test": test})
    with _composing([*words, "hydra.mode=RUN"]) as (hydra, typed):
        try:
            made = hydra.run("config", task, typed, with_log_configuration=False).return_value
        except SystemExit:
            raise UserError("the run has failed in its processes; they have printed why") from None
        if isinstance(made, Exception):
            raise made
        with _store(mlflow.get_tracking_uri()):
            return _run(made.run_id, _trusted(typed))


def sweep(
    *overrides: str,
    train: Given | None = None,
    validation: Given | None = None,
    test: Given | None = None,
) -> "Sweep":
    """Run all combinations of the given values, as `python -m expkit -m` does with the same overrides.

    Args:
        overrides: such as "optimizer=adamw,sgd" or "hydra/sweeper=race".
        train: as in `run`; `validation` and `test` too.

    Raises:
        ConfigError: a job is wrong; none was started.
        UserError: jobs have failed; the others have run, and `runs` lists all.
    """
    words = _with_data(overrides, {"train": train, "validation": validation, "test": test})
    with _composing([*words, "hydra.mode=MULTIRUN"]) as (hydra, typed):
        made = hydra.multirun("config", app.task, typed, with_log_configuration=False)
        return Sweep(made, mlflow.get_tracking_uri(), _trusted(typed))


def load(run_id: str, trust: Sequence[str] = ()) -> "Run":
    """Return the run with this id, or with these first characters.

    Args:
        trust: packages of your own from which the run's task may come, for `predict`.

    Raises:
        UserError: there is no such run, or it is a sweep.
    """
    if not isinstance(run_id, str):
        raise UserError(f"{run_id!r:.80}: is no id of a run, which is a text")
    with untouched():
        return _run(run_id, tuple(trust))


def runs(sweep: str | None = None) -> pd.DataFrame:
    """Return the runs of the project, the newest first, or those of a sweep: names, states, settings and metrics."""
    with untouched():
        found = select([sweep]).jobs if sweep else every_run()
        rows = [
            {"run": job.run_id, "name": job.name, "state": job.state, **job.params, **job.metrics}
            for job in found
        ]
    return pd.DataFrame(rows, columns=list(dict.fromkeys(k for row in rows for k in row)))


def compare_runs(
    *which: "str | Run | Sweep",
    set: str = VALIDATION,
    resamples: int = 1000,
    seed: int = 0,
    trust: Sequence[str] = (),
) -> "Comparison":
    """Compare runs and sweeps as `expkit compare` does; by default the last sweep.

    Args:
        which: runs, sweeps, or their ids.
        set: the evaluation set whose scores are compared.
        resamples: how many sets of examples the bootstrap draws.
        seed: the seed of the bootstrap.
        trust: packages of your own from which the metrics may come.

    Raises:
        UserError: there is nothing to compare, or a run has no scores on the set.
    """
    first = next((one for one in which if not isinstance(one, str)), None)
    options = compare.parser().parse_args([])
    options.ids = [one if isinstance(one, str) else one.id for one in which]
    options.set, options.resamples, options.seed = set, resamples, seed
    options.trust = [*trust, *(t for one in which if not isinstance(one, str) for t in one._trust)]
    with _store(first._uri if first else None), _silent():
        found = compare.compared(options)
        differences = compare.differences_of(found, options)
    header, *rows = all_cells(found.groups, found.jobs)
    columns = ["metric", "first", "second", "difference", "low", "high", "p"]
    cells = [[getattr(d, name) for name in columns] for d in differences]
    shown = grid(found.groups, found.metrics, found.best) if found.groups else Grid((), (), ())
    return Comparison(
        pd.DataFrame(rows, columns=header),
        list(found.lines),
        pd.DataFrame(cells, columns=columns),
        pd.DataFrame([*shown.rows], columns=[*shown.columns]),
    )


@dataclass(frozen=True)
class Run:
    """A run in the store: what it has logged, and its model."""

    _logged: LoggedRun
    folder: Path
    """The folder with the files of the run, among them the exported model in `model`."""
    _uri: str
    _trust: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Run({self.id!r}, {self.name!r})"

    @property
    def id(self) -> str:
        """The id in MLflow, which all commands take."""
        return self._logged.id

    @property
    def name(self) -> str:
        """The name in MLflow."""
        return str(self._logged.run.info.run_name)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric, such as `final/f1`, `test/f1` or `baseline/majority_f1`."""
        return dict(self._logged.run.data.metrics)

    @property
    def config(self) -> DictConfig:
        """The whole configuration, resolved: `run.config.train.epochs`."""
        return self._logged.config

    @property
    def fingerprint(self) -> str:
        """The digest of all that decides the result; equal for runs that must have equal results."""
        return tag_of(self._logged.run.data.tags, FINGERPRINT)

    @property
    def url(self) -> str:
        """The address of the run in the MLflow UI, which `expkit ui` serves if the store has no server."""
        return f"{host_of(self._logged.client)}/{page_of(self._logged.run.info.experiment_id, self.id)}"

    def history(self) -> pd.DataFrame:
        """Return the curves, with a row for each step and a column for each metric of `train/` and `eval/`."""
        client, names = self._logged.client, sorted(self.metrics)
        curves = {
            name: {point.step: point.value for point in client.get_metric_history(self.id, name)}
            for name in names
            if name.startswith(("train/", "eval/"))
        }
        return pd.DataFrame(curves).rename_axis("step").sort_index()

    def predictions(self, set: str = VALIDATION) -> pd.DataFrame:
        """Return the examples of a set with what the final model has predicted for them. Raises UserError."""
        folder = "eval" if set == VALIDATION else set
        with _store(self._uri):
            file = self._logged.artifact(f"{folder}/predictions.json")
        if file is None:
            raise UserError(f"run {self.id}: has logged no predictions of {set!r}")
        table = json.loads(file.read_text(encoding="utf-8"))
        return pd.DataFrame(table["data"], columns=table["columns"])

    def model(self) -> PreTrainedModel:
        """Load the final model, merged if it was trained with LoRA, as plain transformers on the CPU."""
        return self._loaded()[0]

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer of the final model."""
        return self._loaded()[1]

    def predict(
        self, texts: Any, *, probabilities: bool = False, precision: str = "fp32"
    ) -> pd.DataFrame:
        """Return the records with predictions for them, as `expkit predict` makes them.

        Args:
            texts: a list of records, each of which is a text; a list of as many texts as the task has columns; or
                a mapping from the names of these columns. Or a DataFrame or a `datasets.Dataset` that has them.
            probabilities: adds a column with the probability of each label.
            precision: fp32 or bf16, in which matrices are multiplied.

        Raises:
            UserError: the records are not what the task takes, or the run has no model.
        """
        if precision not in ("fp32", "bf16"):
            raise UserError(f"precision={precision!r}: {nearest(precision, ('fp32', 'bf16'))}")
        with _store(self._uri):
            task = predict.task_of(
                self._logged, frozenset(self._trust), "probabilities=True" * probabilities
            )
            split = _records(texts, task.columns)
            if not len(split):
                return pd.DataFrame(columns=split.rows.column_names)
            task.inputs(split)
            model, tokenizer = predict.loaded(self._logged.model_uri(), task, precision)
            with inference(model, precision):
                parts = predict.answered(task, model, tokenizer, split, has_bar=False)
                answers = [rows for _, of_part in parts for rows in of_part]
        table = split.rows.with_format("arrow")[:]
        made = widened(table, answers, task.has_several_rows, is_csv=False).to_pandas()
        return made.set_index(texts.index) if isinstance(texts, pd.DataFrame) else made

    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        with _store(self._uri):
            return load_model(self._logged.model_uri())


@dataclass(frozen=True)
class Sweep:
    """A sweep in the store, by the id of its parent run."""

    id: str
    _uri: str = field(repr=False)
    _trust: tuple[str, ...] = field(default=(), repr=False)

    def runs(self) -> pd.DataFrame:
        """Return a row for each job: its run, state, settings and metrics."""
        with _store(self._uri):
            return runs(self.id)

    def compare(self, **how: Any) -> "Comparison":
        """Return means over seeds and the verdict; `how` is as in `compare_runs`."""
        return compare_runs(self, **how)

    @property
    def best(self) -> list[Run]:
        """The runs of the configurations that cannot be told from the best; empty if no job has a score."""
        with _store(self._uri):
            parent = find_run(connect(None), self.id)
            ids = tag_of(parent.data.tags, BEST_RUN).split()
            return [_run(run_id, self._trust) for run_id in ids]

    @property
    def url(self) -> str:
        """The address of the sweep in the MLflow UI."""
        with _store(self._uri):
            client = connect(None)
            experiment = find_run(client, self.id).info.experiment_id
            return f"{host_of(client)}/{page_of(experiment, self.id)}"


@dataclass(frozen=True)
class Comparison:
    """What a comparison has found.

    Args:
        table: a row for each configuration, with what differs, and means and deviations over seeds in full precision.
        verdict: sentences that say which are better, and how certain that is.
        differences: of two runs, or of configurations over all folds: each metric with its 95 % interval.
        shown: the table as `expkit compare` prints it; a star marks what cannot be told from the best.
    """

    table: pd.DataFrame
    verdict: list[str]
    differences: pd.DataFrame
    shown: pd.DataFrame

    def _parts(self) -> list[pd.DataFrame]:
        return [self.shown, *([self.differences] if len(self.differences) else [])]

    def __repr__(self) -> str:
        """Return the tables and the verdict as text."""
        return "\n".join([*(p.to_string(index=False) for p in self._parts()), *self.verdict])

    def _repr_html_(self) -> str:
        """Return the same for notebooks."""
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.verdict)
        return "".join([*(p.to_html(index=False) for p in self._parts()), f"<ul>{lines}</ul>"])


def _with_data(overrides: Sequence[str], data: Mapping[str, Given | None]) -> list[str]:
    if wrong := [o for o in overrides if not isinstance(o, str)]:
        raise UserError(f"{wrong[0]!r:.80}: is no override; write 'key=value'")
    given = {name: one for name, one in data.items() if one is not None}
    typed = {typed_value(override)[0] for override in overrides}
    for name in given:
        if twice := typed & {"data", f"data.{name}_file"}:
            raise UserError(f"{name}: gives the data, and so does {twice.pop()}=...; leave out one")
    files = [f"data.{name}_file={quoted(file_of(name, one))}" for name, one in given.items()]
    return [*overrides, *(["data=files"] if files else []), *files]


@contextmanager
def _composing(overrides: Sequence[str]) -> Iterator[tuple[Hydra, list[str]]]:
    """Let Hydra begin as on the command line; it shows errors with the overrides."""
    with untouched(), app.composing(overrides):
        version.setbase("1.3")
        read_again()
        try:
            search_path = create_config_search_path(str(conf_dir()))
            yield Hydra.create_main_hydra2("expkit", search_path), list(overrides)
        finally:
            GlobalHydra.instance().clear()


def _run(run_id: str, trust: tuple[str, ...]) -> Run:
    found = logged_run(run_id)
    return Run(found, run_folder(found.id), mlflow.get_tracking_uri(), trust)


def _trusted(typed: Sequence[str]) -> tuple[str, ...]:
    """Return the packages that a call trusts, for what is asked of its runs later."""
    values = dict(map(typed_value, typed))
    modules = OmegaConf.create(f"modules: {values.get('trusted_modules', '[]')}").modules
    return tuple(trusted_by(typed, modules))


@contextmanager
def _store(uri: str | None) -> Iterator[None]:
    """Let everything in the block use this store; None stands for the one that commands take."""
    with untouched(), decided_once():
        hush()
        if uri:
            os.environ["MLFLOW_TRACKING_URI"] = uri
        connect(None)  # MLflow's own functions use the store that was opened last
        yield


@contextmanager
def _silent() -> Iterator[None]:
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def _records(texts: Any, columns: Sequence[str]) -> Split:
    try:
        if isinstance(texts, pd.DataFrame):
            rows = Dataset.from_pandas(texts, preserve_index=False)
        elif isinstance(texts, Dataset):
            rows = texts
        elif isinstance(texts, str | Mapping):
            return _records([texts], columns)
        elif isinstance(texts, Sequence) and not texts:
            rows = Dataset.from_dict({name: [] for name in columns})
        else:
            rows = Dataset.from_list([_record(one, columns) for one in texts])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"the records cannot be read: {reason(error)}") from None
    return Split(rows, "given", "the given texts", "", where=lambda i: f"record {i}")


def _record(given: Any, columns: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    values = given if len(columns) > 1 and isinstance(given, list | tuple) else [given]
    if len(values) != len(columns):
        count, names = len(values), ", ".join(columns)
        raise UserError(
            f"{given!r:.80}: has {count} texts, but this run takes {len(columns)}: {names}"
        )
    return dict(zip(columns, values, strict=True))
