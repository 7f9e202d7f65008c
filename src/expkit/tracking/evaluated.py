"""Score the exported model of a finished run on other data, and log the scores on that run.

The scores are logged last. A run that has a set's scores and the digest of its data was scored completely;
anything less is computed again.
"""

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import Metric, RunTag
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expkit.config.components import make_task
from expkit.config.data_files import Files
from expkit.config.resolved import plain
from expkit.data.cache import cached, digest_of_tokenizer
from expkit.data.files import Reading, read
from expkit.data.splits import Split, Splits
from expkit.metrics import outcomes
from expkit.metrics.names import escaped, key_of
from expkit.metrics.pictures import drawn
from expkit.models.fit import fit
from expkit.processes.group import device
from expkit.processes.shortage import is_out_of_memory
from expkit.tasks.interface import Task
from expkit.terminal.display import say
from expkit.terminal.errors import UserError
from expkit.tracking.logged import LoggedRun, data_digests, evaluated, use_threads
from expkit.tracking.model import load_model
from expkit.tracking.past import EVALUATED
from expkit.tracking.writer import DIGEST_LENGTH, tables_tag, write_table
from expkit.training.evaluation import EvalSet, Evaluation, evaluate
from expkit.training.prepared import read_by


def score_on(run: LoggedRun, name: str, files: Files, trusted: frozenset[str]) -> dict[str, float]:
    """Score the model of a run in fp32 as the run itself did, and return the scores by their keys.

    What was scored before is not computed again.

    Args:
        name: that of the set, which the keys begin with.
        files: what `data.train_file` takes.
        trusted: packages from which the task may come.

    Raises:
        UserError: the run has no final model, or was scored on other data under this name.
        DataError: the data do not fit the task of the run.
        MlflowException: MLflow has not taken the scores.
    """
    if (state := run.run.info.status) != "FINISHED":
        raise UserError(f"run {run.id}: has no final model to score (state {state})")
    run.require_trusted("task", trusted)
    uri = run.model_uri()
    split = read(files, reading=Reading.of(plain(run.config)["data"]))
    shown = f"run {run.run.info.run_name} ({run.id})"
    if before := _scored_before(run, name, split):
        say(f"{shown}: was scored on these data before, so they are not scored again")
        return before
    say(f"{shown}: {len(split)} examples of {split.source}")
    use_threads(run.environment())
    task = make_task(run.config)
    model, tokenizer = load_model(uri)
    data = _prepared(run, task, split, model, tokenizer)
    try:
        result = evaluate(model, task, data)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"run {run.id}: out of memory with the run's eval.batch_size={data.batch_size}"
        ) from error
    return _log(run, name, task, data, result)


def _scored_before(run: LoggedRun, name: str, split: Split) -> dict[str, float]:
    """Return the scores of this set if the run has them; raise UserError if they are those of other data."""
    metrics = run.run.data.metrics
    scores = {key: value for key, value in metrics.items() if key.startswith(f"{name}/")}
    if f"{name}/loss" not in scores:
        return {}
    known = {**data_digests(run.run), **evaluated(run.run)}
    if known.get(name) != split.digest[:DIGEST_LENGTH]:
        raise UserError(
            f"run {run.id}: was scored on other data{_from(run, name)} under the name {name}; {split.source} "
            "needs another one: --name"
        )
    return scores


def _from(run: LoggedRun, name: str) -> str:
    source = run.run.data.tags.get(f"{EVALUATED}{name}", "").partition(" ")[2]
    return f" ({source})" if source else ""


def _prepared(
    run: LoggedRun,
    task: Task,
    split: Split,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> EvalSet:
    """The same as `experiment.prepare` makes of an evaluation set; the model comes onto its device."""
    task.adopt(model.config)
    splits = Splits(split, split)
    task.setup(splits)
    head = task.head()
    for key in {"num_labels", "id2label"} & head.config.keys():
        if (found := head.config[key]) != (wanted := getattr(model.config, key)):
            raise UserError(
                f"task: {type(task).__name__}.setup finds {key}={found} in {split.source}, but the model of run "
                f"{run.id} has {wanted}; the class needs a method `adopt` (docs/add-a-task.md)"
            )
    fit(model, tokenizer)
    if head.configure:
        head.configure(model, tokenizer)
    identity = {
        **read_by(run.config, task, splits),
        "tokenizer": digest_of_tokenizer(tokenizer),
        "model": model.config.to_json_string(),  # with what the task has adopted
        "split": split.digest,
    }
    encoded = cached(identity, partial(task.encode, split, tokenizer, model.config))
    model.to(device())
    collate = task.collator(tokenizer, model)
    return EvalSet(split, encoded, tokenizer, collate, run.config.eval.batch_size)


def _log(
    run: LoggedRun, name: str, task: Task, data: EvalSet, result: Evaluation
) -> dict[str, float]:
    """Log predictions, outcomes and pictures, then the digest of the data, and then the scores."""
    report = task.report(result.predictions, data.split, data.encoded)
    made = task.outcomes(result.predictions, data.split, data.encoded)
    with TemporaryDirectory() as folder:
        for table, columns in report.tables.items():
            write_table(columns, Path(folder, f"{escaped(table)}.json"))
        for picture, draw in report.figures.items():
            drawn(draw, Path(folder, f"{escaped(picture)}.png"))
        if made:
            outcomes.write(made, Path(folder, outcomes.FILE))
        run.client.log_artifacts(run.id, folder, name)
    tags = {f"{name}/{key}": fact for key, fact in report.tags.items()}
    paths = [f"{name}/{escaped(table)}.json" for table in report.tables]
    tags |= tables_tag(run.run.data.tags, paths)
    tags[f"{EVALUATED}{name}"] = f"{data.split.digest[:DIGEST_LENGTH]} {data.split.source}"
    run.client.log_batch(run.id, tags=[RunTag(key_of(key), fact) for key, fact in tags.items()])
    scores = {key_of(f"{name}/{metric}"): value for metric, value in result.metrics.items()}
    now = int(time.time() * 1000)
    run.client.log_batch(run.id, [Metric(key, value, now, 0) for key, value in scores.items()])
    return scores
