"""Get predictions from the model that a run has logged."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.commands import add_trust
from expkit.terminal import streams
from expkit.terminal.errors import UserError

if TYPE_CHECKING:
    from expkit.data.splits import Record

RECORDS_AT_ONCE = 64
OPTIONS = ("--text", "--file", "--trust", "--help", "-h")
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
    add_trust(parser, "the run's task")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Print the predictions for a text as a table, or those for a file as JSON Lines.

    Returns whether all of them could be printed.
    """
    from expkit.config.components import make_task
    from expkit.terminal.display import table
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run
    from expkit.tracking.model import load_model

    run = logged_run(options.run_id)
    hush()
    run.require_trusted("task", frozenset(options.trust))
    task = make_task(run.config)
    model_uri = run.model_uri()  # a run without a model is refused before the file is read
    text = options.text
    records = [_typed(task.columns, text)] if text else _inputs(task, options.file, run.config.data)
    model, tokenizer = load_model(model_uri)
    model.eval()
    for start in range(0, len(records), RECORDS_AT_ONCE):
        chunk = records[start : start + RECORDS_AT_ONCE]
        answers = task.answer(model, tokenizer, chunk)
        if text:
            (rows,) = answers
            cells = [[str(value) for value in row.values()] for row in rows]
            table(" | ".join(text), list(rows[0]) if rows else ["nothing found"], cells)
        else:
            for record, rows in zip(chunk, answers, strict=True):
                print(json.dumps({**record, "predictions": rows}, ensure_ascii=False))
        sys.stdout.flush()
        if 1 in streams.failed:  # standard output takes no more: `| head`, or a full disk
            return False
    return True


def _typed(columns: Sequence[str], texts: Sequence[str]) -> "Record":
    if len(texts) != len(columns):
        raise UserError(
            f"--text: got {len(texts)} texts, but this run takes {len(columns)}: {', '.join(columns)}"
        )
    return dict(zip(columns, texts, strict=True))


def _inputs(task: Any, file: Path, data: Mapping[str, Any]) -> "list[Record]":
    """Return what the task needs of each record in the file, or raise a UserError."""
    from expkit.data.files import Reading, read

    split = read(file, reading=Reading.of(data))
    return list(task.inputs(split))
