"""`expkit.evaluate`: a finished run scores other data as it has scored its own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from conftest import SMALL_RUNS, SMALL_TASKS, TINY, Command, composed, only_run, runs_of
from expkit.commands import evaluate
from expkit.commands.evaluate import _name, parser
from expkit.config.components import make
from expkit.data.splits import Splits
from expkit.metrics.outcomes import FILE, read
from expkit.tasks.interface import Task
from expkit.tasks.text_classification import TextClassification
from expkit.terminal.errors import UserError
from expkit.tracking.logged import logged_run

QUICKEST = ["text_classification"]
REST = [task for task in SMALL_RUNS if task not in QUICKEST]
QUICK = ("train.max_steps=2", "eval.batch_size=7")


def trained(expkit: Command, project: Path, *options: str) -> Run:
    done = expkit(*options, *QUICK)
    assert done.returncode == 0, done.stderr
    return only_run(project)


def evaluated(expkit: Command, *arguments: str) -> str:
    """What the command prints."""
    done = expkit(*arguments, module="expkit.evaluate")
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def refused(expkit: Command, *arguments: str) -> str:
    """The only message of the command."""
    done = expkit(*arguments, module="expkit.evaluate")
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("expkit.evaluate: ")
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("expkit.evaluate: ")


def written(file: Path, records: Sequence[Any]) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return file


def demo(*options: str) -> Splits:
    """The data of a run."""
    data: Splits = make(composed(*options), "data")
    return data


def scores(run: Run, group: str) -> dict[str, float]:
    found = run.data.metrics.items()
    return {key.partition("/")[2]: value for key, value in found if key.startswith(f"{group}/")}


@pytest.mark.parametrize("task", QUICKEST + [pytest.param(t, marks=pytest.mark.slow) for t in REST])
def test_the_validation_file_gives_the_scores_of_the_run_to_the_last_digit(
    task: str, project: Path, expkit: Command
) -> None:
    run = trained(expkit, project, *SMALL_RUNS[task])
    file = written(project / "deeper" / "june.jsonl", list(demo(*SMALL_RUNS[task]).validation))
    said = evaluated(expkit, run.info.run_id[:10], "--file", "deeper/june.jsonl")
    assert ": 32 examples of deeper/june.jsonl" in said
    assert f" june/loss {scores(run, 'final')['loss']:.4f} " in said
    after = only_run(project)
    assert scores(after, "june") == scores(run, "final")
    assert after.info.end_time == run.info.end_time
    logged = logged_run(run.info.run_id)
    june, own = (logged.artifact(f"{folder}/{FILE}") for folder in ("june", "eval"))
    assert june is not None
    assert own is not None
    assert read(june) == read(own)
    assert {f.name for f in june.parent.iterdir()} == {f.name for f in own.parent.iterdir()}
    file.rename(project / "july.jsonl")
    again = evaluated(expkit, run.info.run_id, "--file", "july.jsonl", "--name", "june")
    assert "scored on these data before" in again
    assert said.endswith(again.partition("june/loss")[2])
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    assert len(client.get_metric_history(run.info.run_id, "june/loss")) == 1


PAIR = {"sentence1": "a", "sentence2": "b"}
MOODS = ("good", "neutral", "bad")  # sorted otherwise: bad, good, neutral


@pytest.fixture
def moods(project: Path, expkit: Command) -> str:
    """The id of a run whose labels are texts, and whose training file is gone."""
    pairs = [{"sentence1": f"{n} is", "sentence2": f"so {MOODS[n % 3]}"} for n in range(12)]
    written(
        project / "old.jsonl", [{**pair, "label": MOODS[n % 3]} for n, pair in enumerate(pairs)]
    )
    files = ("data=files", "data.train_file=old.jsonl", "data.validation_file=old.jsonl")
    options = [option for option in TINY if not option.startswith("data.")]
    run = trained(expkit, project, *options, *files)
    (project / "old.jsonl").unlink()
    return str(run.info.run_id)


def true_of(run_id: str, name: str) -> list[int]:
    """The ids of the true labels with which a set was scored."""
    file = logged_run(run_id).artifact(f"{name}/{FILE}")
    assert file is not None
    references = read(file)[0].references
    assert references is not None
    return list(references)


def test_labels_of_other_data_are_those_of_the_model(
    project: Path, expkit: Command, moods: str
) -> None:
    written(project / "texts.jsonl", [{**PAIR, "label": "neutral"}, {**PAIR, "label": "bad"}])
    written(project / "ids.jsonl", [{**PAIR, "label": label} for label in (1.0, 0)])
    evaluated(expkit, moods, "--file", "texts.jsonl")
    said = evaluated(expkit, moods, "--file", "ids.jsonl")
    assert "label: holds ids, taken for those of the model: 0=bad, 1=good, 2=neutral" in said
    rows = Dataset.from_list([{**PAIR, "label": 0}, {**PAIR, "label": 2}])
    rows = rows.cast_column("label", ClassLabel(names=["neutral", "other", "bad"]))
    rows.to_parquet(project / "named.parquet")
    evaluated(expkit, moods, "--file", "named.parquet")
    written(project / "more.jsonl", [{**PAIR, "label": "good"}])
    evaluated(expkit, moods, "--file", "texts.jsonl", "more.jsonl", "--name", "both")
    names = {name: true_of(moods, name) for name in ("texts", "ids", "named", "both")}
    assert names == {"texts": [2, 0], "ids": [1, 0], "named": [2, 0], "both": [2, 0, 1]}
    assert scores(only_run(project), "texts")["loss"] > 0

    written(project / "july.jsonl", [{**PAIR, "label": "bad"}, {**PAIR, "label": "nuetral"}])
    assert refused(expkit, moods, "--file", "july.jsonl") == (
        "july.jsonl, line 2: label='nuetral' is not among the labels; allowed: bad, good, neutral; did you "
        "mean 'neutral'?\n"
    )
    renamed = rows.cast_column("label", ClassLabel(names=["poor", "good", "neutral"]))
    renamed.to_parquet(project / "july.parquet")
    assert "label=0, which is the label 'poor'" in refused(expkit, moods, "--file", "july.parquet")
    assert "july/loss" not in only_run(project).data.metrics


def test_other_data_need_another_name(project: Path, expkit: Command, moods: str) -> None:
    file = written(project / "june.jsonl", [{**PAIR, "label": "bad"}])
    evaluated(expkit, moods, "--file", "june.jsonl")
    written(file, [{**PAIR, "label": "good"}])
    message = refused(expkit, moods, "--file", "june.jsonl")
    assert message == (
        f"run {moods}: was scored on other data (june.jsonl) under the name june; june.jsonl needs another one: --name\n"
    )
    evaluated(expkit, moods, "--file", "june.jsonl", "--name", "july")
    assert true_of(moods, "june") != true_of(moods, "july")


def test_what_was_left_half_done_is_done_again(
    project: Path, expkit: Command, moods: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(project / "june.jsonl", [{**PAIR, "label": "bad"}])

    def away(*_: Any, metrics: Sequence[Any] = (), tags: Sequence[Any] = (), **__: Any) -> None:
        raise MlflowException("is away")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", away)
        with pytest.raises(UserError, match=f"run {moods}: .*is away.*the same command goes on"):
            evaluate.run(parser().parse_args([moods, "--file", "june.jsonl"]))
    assert "june/loss" not in only_run(project).data.metrics
    # Not even the same data: nothing but files of the first attempt is there.
    written(project / "june.jsonl", [{**PAIR, "label": "good"}])
    evaluated(expkit, moods, "--file", "june.jsonl")
    assert true_of(moods, "june") == [1]


def test_a_task_that_finds_other_labels_than_its_model_has_is_refused(
    project: Path, moods: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of the user's own whose author has not thought of `adopt`."""
    monkeypatch.setattr(TextClassification, "adopt", Task.adopt)
    written(project / "june.jsonl", [{**PAIR, "label": label} for label in ("good", "neutral")])
    with pytest.raises(UserError, match=r"TextClassification.setup finds .* a method `adopt`"):
        evaluate.run(parser().parse_args([moods, "--file", "june.jsonl"]))


def test_tags_that_other_data_lack_or_number_otherwise(project: Path, expkit: Command) -> None:
    run = trained(expkit, project, *SMALL_TASKS["token_classification"])
    written(project / "june.jsonl", [{"tokens": ["Ada", "sings"], "ner_tags": ["S-PER", "O"]}])
    said = evaluated(expkit, run.info.run_id, "--file", "june.jsonl")
    assert "ner_tags: IOBES; 1 tags rewritten as BIO" in said
    assert "f1_PER" in scores(only_run(project), "june")
    written(project / "july.jsonl", [{"tokens": ["Ada", "sings"], "ner_tags": [1, 0]}])
    message = refused(expkit, run.info.run_id, "--file", "july.jsonl")
    assert message.startswith("july.jsonl, line 1: ner_tags[0]=1 is an id; ")


@pytest.mark.slow
def test_all_finished_jobs_of_a_sweep_are_scored_and_compared(
    project: Path, expkit: Command
) -> None:
    options = (*TINY, *QUICK, "data.sizes.validation=16")
    done = expkit("-m", *options, "seed=1,2", "optimizer=adamw,sgd")
    assert done.returncode == 0, done.stderr
    sweep = next(r for r in runs_of(project) if r.data.tags.get("mlflow.expkit.kind") == "sweep")
    jobs = [run for run in runs_of(project) if "objective" in run.data.params]
    written(project / "june.jsonl", list(demo(*options).validation)[:9])
    evaluated(expkit, jobs[0].info.run_id, "--file", "june.jsonl")
    said = evaluated(expkit, "--sweep", sweep.info.run_id, "--file", "june.jsonl")
    assert said.count("examples of june.jsonl") == 3
    assert said.count("scored on these data before") == 1
    after = [run for run in runs_of(project) if "objective" in run.data.params]
    assert all("june/f1" in run.data.metrics for run in after)

    done = expkit("--set", "june", module="expkit.compare")
    assert done.returncode == 0, done.stderr
    head = next(line for line in done.stdout.splitlines() if "june/f1" in line)
    assert " f1 " not in head
    assert "june/loss" in head
    rows = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 2, "a row for both seeds of an optimizer"
    assert "*" in rows[0]
    ids = [run.info.run_id for run in jobs[:2]]
    done = expkit(*ids, "--set", "june", "--resamples", "20", module="expkit.compare")
    assert "second − first on 9 examples" in done.stdout, done.stderr
    done = expkit(*ids, "--set", "july", module="expkit.compare")
    assert done.stderr == (
        "expkit.compare: --set july: none of the runs was scored on it; allowed: validation, june; "
        "did you mean 'june'?\n"
    )


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        (None, ["data/june.jsonl"], "june"),
        (None, ["june/"], "june"),
        ("1st-half_2026", ["a.csv", "b.csv"], "1st-half_2026"),
    ],
)
def test_a_set_has_the_name_of_its_file(name: str | None, files: list[str], expected: str) -> None:
    assert _name(name, files) == expected


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        (None, ["a.csv", "b.csv"], r"--file: names several files.*--name june"),
        (None, ["parts/*.csv"], r"--file: '\*' is no name.*--name june"),
        (None, ["new.june.csv"], r"--file: 'new.june' is no name"),
        (None, ["test.csv"], r"--file: 'test' cannot name.*choose one, such as --name june"),
        ("a/b", ["a.csv"], r"--name: 'a/b' is no name"),
        ("Eval", ["a.csv"], r"--name: 'Eval' cannot name"),
        ("", ["a.csv"], r"--name: '' is no name"),
    ],
)
def test_a_name_that_is_none(name: str | None, files: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _name(name, files)


def test_runs_and_files_that_cannot_be_scored(project: Path, expkit: Command, moods: str) -> None:
    written(project / "june.jsonl", [{"sentence1": "a", "label": "bad"}])
    message = refused(expkit, moods, "--file", "june.jsonl")
    assert message.startswith("june.jsonl: has no column 'sentence2'")
    assert "--file june.pdf: unknown kind" in refused(expkit, moods, "--file", "june.pdf")
    assert "no such file" in refused(expkit, moods, "--file", "july.jsonl")
    assert "is a single run" in refused(expkit, "--sweep", moods, "--file", "june.jsonl")
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    client.set_terminated(moods, "KILLED")
    assert "no final model to score (state KILLED)" in refused(
        expkit, moods, "--file", "june.jsonl"
    )
