"""Get predictions from the model that a run has logged."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.commands import add_trust
from expkit.terminal import streams
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    from expkit.data.splits import Record, Split
    from expkit.data.writing import Answered
    from expkit.tasks.interface import Task
    from expkit.tracking.logged import LoggedRun

EXAMPLES, TOKENS = 64, 8_192  # in a batch, at most
# Texts of a part of the data are sorted by length; it has at most so many, and so many tokens.
PART_EXAMPLES, PART_TOKENS = 64 * EXAMPLES, 2**20
OPTIONS = ("--text", "--file", "--out", "--probabilities", "--precision", "--trust", "--help", "-h")
IS_TEXT = "\0"  # marks a text; the operating system allows no such character in an argument


class _Parser(argparse.ArgumentParser):
    """Takes what follows `--text` as texts, even if it begins with a hyphen, such as `-great`."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Mark the texts first, because argparse takes what begins with a hyphen for an option."""
        given = sys.argv[1:] if args is None else args
        return super().parse_args(list(self._marked(given)), namespace)

    def _marked(self, arguments: Sequence[str]) -> Iterator[str]:
        option = None
        for argument in arguments:
            if argument.partition("=")[0] in OPTIONS:
                option = argument
            elif option == "--text":
                argument = IS_TEXT + argument
            yield argument


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = _Parser(description=__doc__)
    parser.add_argument("run_id", metavar="RUN_ID", help="an id, or its first characters")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--text",
        nargs="+",
        type=lambda text: text.removeprefix(IS_TEXT),
        metavar="TEXT",
        help="one text, or as many as the task has text columns",
    )
    asked.add_argument(
        "--file", type=Path, help="a file with the task's columns, as data=files reads it"
    )
    about = "a new .jsonl, .csv or .parquet file for the records and their predictions"
    parser.add_argument("--out", type=Path, metavar="FILE", help=about)
    about = "also the probability of every label"
    parser.add_argument("--probabilities", action="store_true", help=about)
    about = "in which matrices are multiplied; fp32 unless you say bf16"
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help=about)
    add_trust(parser, "the run's task")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Print the predictions for a text as a table, or those for a file as JSON Lines, or write these.

    Returns whether all of them could be printed.
    """
    from expkit.config.data_files import problems_of
    from expkit.data import writing
    from expkit.data.files import Reading, read
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run
    from expkit.training.evaluation import inference

    if options.text and options.out:
        raise UserError("--out: is for the records of --file; leave it out with --text")
    for name, why in problems_of(str(options.file)) if options.file else ():
        raise UserError(f"--file {name}: {why}")
    if options.out:
        writing.require_new(options.out)
    run = logged_run(options.run_id)
    hush()
    task = task_of(run, frozenset(options.trust), "--probabilities" * options.probabilities)
    model_uri = run.model_uri()  # a run without a model is refused before the file is read
    if options.text:
        asked = _typed(task.columns, options.text)
        model, tokenizer = loaded(model_uri, task, options.precision)
        with inference(model, options.precision):
            _show(" | ".join(options.text), task.answer(model, tokenizer, [asked])[0])
        return True
    split = read(options.file, reading=Reading.of(run.config.data))
    for part in _parts(split, task):
        task.inputs(part)  # a bad line at the end of a long file ends the command before the work
    model, tokenizer = loaded(model_uri, task, options.precision)
    with inference(model, options.precision):
        answers = answered(task, model, tokenizer, split, options.out is not None)
        if not options.out:
            return _print(answers, task)
        writing.save(options.out, answers, task.has_several_rows)
    return True


def task_of(run: "LoggedRun", trusted: frozenset[str], probabilities: str) -> "Task":
    """Make the task of a run, which answers with the probability of every label if the name of that option is given.

    Raises:
        UserError: the task comes from a package that is not trusted, or predicts no labels.
    """
    from expkit.config.components import make_task

    run.require_trusted("task", trusted)
    task = make_task(run.config)
    if probabilities:
        if task.shows_probabilities is None:
            raise UserError(
                f"{probabilities}: {type(task).__name__} predicts no labels, so there are no probabilities of them"
            )
        task.shows_probabilities = True
    return task


def loaded(uri: str, task: "Task", precision: str) -> tuple[Any, Any]:
    """Load the model and the tokenizer at an address, onto the device of this process."""
    from expkit.processes.group import device
    from expkit.tracking.model import load_model
    from expkit.training.precision import choose_attention

    model, tokenizer = load_model(uri)
    choose_attention(model, precision, task.max_length)
    return model.to(device()), tokenizer


def _show(title: str, rows: "list[Record]") -> None:
    from expkit.terminal.display import table

    if every := rows and rows[0].get("probabilities"):
        rows = [{"label": label, "probability": round(p, 4)} for label, p in every.items()]
    cells = [[str(value) for value in row.values()] for row in rows]
    table(title, list(rows[0]) if rows else ["nothing found"], cells)


def _print(answers: "Iterator[Answered]", task: "Task") -> bool:
    from expkit.data.writing import as_json

    for part, of_part in answers:
        for record, rows in zip(task.inputs(part), of_part, strict=True):
            print(as_json({**record, "predictions": rows}))
        sys.stdout.flush()
        if 1 in streams.failed:  # standard output takes no more: `| head`, or a full disk
            return False
    return True


def _parts(split: "Split", task: "Task") -> "Iterator[Split]":
    """Divide the data; the first part is short, so that something is seen soon."""
    most = max(EXAMPLES, min(PART_EXAMPLES, PART_TOKENS // task.max_length))
    start, end = 0, EXAMPLES
    while start < len(split):
        yield split.part(start, end)
        start, end = end, end + most


def answered(
    task: "Task", model: Any, tokenizer: Any, split: "Split", has_bar: bool
) -> "Iterator[Answered]":
    """Answer one part after the other, with a bar on standard error if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    is_shown = sys.stderr.isatty() and (has_bar or not sys.stdout.isatty())
    console, answer = Console(stderr=True), partial(task.answer, model, tokenizer)
    with Progress(console=console, redirect_stdout=False, disable=not is_shown) as bar:
        done = bar.add_task("predict", total=len(split))
        for part in _parts(split, task):
            records = task.inputs(part)
            answers: list[list[Record]] = [[]] * len(records)
            for numbers in _batches(records, tokenizer, task.max_length):
                try:
                    made = answer([records[i] for i in numbers])
                except UserError:  # it does not say which record of the batch cannot be answered
                    made = [_one(answer, records[i], part.where(i)) for i in numbers]
                for i, rows in zip(numbers, made, strict=True):
                    answers[i] = rows
                bar.advance(done, len(numbers))
            yield part, answers


def _one(answer: Callable[..., Any], record: "Record", place: str) -> "list[Record]":
    try:
        return list(answer([record])[0])
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _batches(records: "Sequence[Record]", tokenizer: Any, longest: int) -> Iterator[list[int]]:
    """Numbers of the records, those of similar length together, the longest ones first."""
    texts = [" ".join(map(str, record.values())) for record in records]
    lengths = [min(len(ids), longest) for ids in tokenizer(texts, truncation=True)["input_ids"]]
    order = sorted(range(len(records)), key=lengths.__getitem__, reverse=True)
    while order:
        size = max(1, min(EXAMPLES, TOKENS // max(lengths[order[0]], 1)))
        yield order[:size]
        del order[:size]


def _typed(columns: Sequence[str], texts: Sequence[str]) -> "Record":
    if len(texts) != len(columns):
        raise UserError(
            f"--text: got {len(texts)} texts, but this run takes {len(columns)}: {', '.join(columns)}"
        )
    return dict(zip(columns, texts, strict=True))
