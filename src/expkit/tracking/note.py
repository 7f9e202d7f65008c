"""The descriptions that MLflow shows on top of a run and of a sweep, in Markdown.

The UI folds a description after about six lines, so what matters most comes first.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from expkit.config.direction import MAXIMIZE, MINIMIZE, direction_of
from expkit.metrics.names import key_of
from expkit.metrics.result import final_of
from expkit.terminal.errors import shortened
from expkit.terminal.secrets import without_address

NOTE = "mlflow.note.content"
NOTE_LIMIT = 7500  # characters; MLflow cuts at 8000, which might be inside a row
SCORES_LIMIT = 4500  # characters of the table of a run, so that what follows it has room as well
LINE_LIMIT = 1000  # characters of a command or of a reason
ERROR_LIMIT = 120  # characters of a reason in the table; the job has all of it
NAMED = 5  # jobs that tie, by name; all of them are marked in the table

BETTER = {MAXIMIZE: "higher is better", MINIMIZE: "lower is better"}

Scores = tuple[list[str], list[list[str]]]  # the header of a table, and its rows

# What to do next, by what has become of a run.
AFTER_FAILURE = "Mend that, and run the same command with `resume=auto`: it goes on after the last checkpoint, or begins anew if there is none. `traceback.txt` among the artifacts says where it happened."
AFTER_SIGNAL = "Without a checkpoint it begins anew."
AFTER_PRUNING = "Its search ended it early because others were better; it is never gone on with."
UNFINISHED = "This run has not ended."  # the description from its start
WHILE_UNFINISHED = "If its state is not RUNNING, its process died without a word, as it does when memory runs out; the same command with `resume=auto` goes on."


@dataclass(frozen=True)
class Row:
    """What became of a job. `state` is one of MLflow's, PRUNED, or NOT STARTED."""

    name: str
    differing: Mapping[str, str]
    state: str
    objective: str
    value: float | None = None
    run_id: str = ""
    seconds: float | None = None
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    task: str = ""
    direction: str = ""  # minimize or maximize; of a row with a value

    @property
    def contest(self) -> tuple[str, str, str]:
        """Jobs can be better or worse than each other where this is the same."""
        return self.task, self.objective, self.direction


def command_of(typed: Sequence[str]) -> str:
    """The command as a shell reads it, without the store's address; empty if nothing was typed."""
    return shlex.join(["python", "-m", "expkit", *without_address(typed)]) if typed else ""


def with_direction(metric: str, direction: str) -> str:
    """`final/f1 (higher is better)`; the metric alone where nobody has said its direction."""
    return f"{metric} ({BETTER[direction]})" if direction in BETTER else metric


def score_table(
    results: Mapping[str, Mapping[str, float]], baseline: Mapping[str, float]
) -> Scores:
    """The header and the rows of a table: each metric on each split, and beside it the baseline's.

    Args:
        results: metrics by split, `validation` among them.
        baseline: metrics by names such as `majority_f1`; a task may have none.
    """
    kind = next(iter(baseline), "").partition("_")[0]
    of_baseline = {name.partition("_")[2]: value for name, value in baseline.items()}
    # A split may lack a metric that another has: the F1 of a type of entity that it does not hold.
    rows = [
        [name, *(f"{s[name]:.4f}" if name in s else "" for s in (*results.values(), of_baseline))]
        for name in results["validation"]
    ]
    return ["metric", *results, f"{kind} baseline".strip()], rows


def note_of_run(
    run_id: str,
    config: Mapping[str, Any],
    scores: Scores,
    names: Mapping[str, str],
    command: str,
    folder: Path,
) -> str:
    """The description of a finished run: its result, the command, all scores, and how to use the model.

    Args:
        scores: what `score_table` has returned.
        names: of data and model.
        command: empty if nothing was typed.
        folder: where the exported model lies.
    """
    header, rows = scores
    objective = config["objective"]
    by_name = {row[0]: row for row in rows}
    _, value, *_, reference = by_name.get(objective.removeprefix("eval/"), ["", "nan", ""])
    scored = with_direction(f"{final_of(objective)} {value}", direction_of(config))
    beside = f"; {_text(header[-1])} {reference}" if reference else ""
    cells = [[_text(cell) for cell in row] for row in rows]
    data, model = _text(names["data"]), _text(names["model"])
    loaded = f"""\
mlflow.pyfunc.load_model("runs:/{run_id}/model")  # predict takes a list of texts
mlflow.transformers.load_model("runs:/{run_id}/model", return_type="components")"""
    parts = [
        f"**{_text(scored)}**{beside}",
        _code(command),
        _code(loaded, "python") if config["tracking"]["log_model"] else "",
        _table(["metric", "final (validation)", *header[2:]], cells, "metrics", SCORES_LIMIT),
        f"Data: {data}. Model: {model}, now in {_text(str(folder))}",
        _code(f"python -m expkit.predict {run_id} --text ..."),
    ]
    return "\n\n".join(filter(None, parts))


def note_of_failure(why: str, what_next: str, command: str) -> str:
    """The description of a run that has not finished: why, what to do, and the command, if one was typed."""
    first = f"**{_text(shortened(why, LINE_LIMIT))}**"
    return "\n\n".join(filter(None, [first, what_next, _code(command)]))


def verdicts(best: Sequence[Row]) -> list[str]:
    """One line for each contest: the best job, or that several tie, with their value."""
    lines = []
    for (_, objective, direction), tied in groupby(best, key=lambda row: row.contest):
        rows = list(tied)
        scored = with_direction(f"{final_of(objective)} {rows[0].value:.4f}", direction)
        for key, value in rows[0].metrics.items():
            kind = key.removeprefix("baseline/").partition("_")[0]
            if f"baseline/{kind}_{key_of(objective).removeprefix('eval/')}" == key:
                scored += f"; {kind} baseline {value:.4f}"
        names = ", ".join(row.name for row in rows[:NAMED]) + (", …" if len(rows) > NAMED else "")
        tie = f"{len(rows)} jobs tie: " if len(rows) > 1 else ""
        lines.append(f"{tie}{names}: {scored}")
    return lines


def figures(rows: Sequence[Row]) -> tuple[str, list[tuple[str, str]]]:
    """The title of a column with values, and of each row its value and its time, as texts."""
    finals = [final_of(row.objective) for row in rows]
    title = finals[0] if len(set(finals)) == 1 else "objective"
    shown = []
    for row, final in zip(rows, finals, strict=True):
        value = "" if row.value is None else f"{row.value:.4f}"
        named = f"{final} {value}" if value and title != final else value
        shown.append((named, "" if row.seconds is None else f"{row.seconds:.0f} s"))
    return title, shown


def note_of(
    rows: Sequence[Row],
    best: Sequence[Row],
    address: Callable[[str], str],
    views: Mapping[str, str],
) -> str:
    """The description of a sweep: links to its `views`, the best job, and all jobs with links to their pages."""
    links = " · ".join(f"[{words}]({target})" for words, target in views.items())
    title, shown = figures(rows)
    cells = []
    for row, (value, time) in zip(rows, shown, strict=True):
        name = f"[{_text(row.name)}]({address(row.run_id)})" if row.run_id else _text(row.name)
        state = row.state.lower() + (f": {_text(row.error[:ERROR_LIMIT])}" if row.error else "")
        result = f"**{_text(value)}** best" if row in best else _text(value)
        cells.append([name, result, state, time])
    header = ["job", _text(title), "state", "time"]
    table = _table(header, cells, "jobs are in sweep/jobs.json", NOTE_LIMIT)
    lines = [f"Best: {_text(line)}" for line in verdicts(best)]
    if len(best) == 1:
        lines[0] += f" – [how to load and ask it]({address(best[0].run_id)})"
    # The UI lays a shade over the end of what it folds, and links below it cannot be clicked.
    return "\n\n".join([links, *lines, table])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], what: str, room: int) -> str:
    """As many rows as fit into so many characters; then how many more of `what` there are."""
    # The UI draws the columns of a table without space between them.
    first, *lines = ["".join(f"| {cell}&emsp;" for cell in row) + "|" for row in (header, *rows)]
    fitting = sum(end <= room for end in accumulate(len(line) + 1 for line in lines))
    more = ["", f"{len(lines) - fitting} more {what}"] if fitting < len(lines) else []
    return "\n".join([first, "|:--" * len(header) + "|", *lines[:fitting], *more])


def _text(text: str) -> str:
    """One line without what would end a cell, or start a link, an entity or other Markdown."""
    return " ".join(re.sub(r"[\\|\[\]*_`<>~&]", r"\\\g<0>", text).splitlines())


def _code(text: str, language: str = "") -> str:
    """A block of code, fenced by more backticks than the text has in a row; empty without text."""
    text, fence = "\n".join(shortened(line, LINE_LIMIT) for line in text.splitlines()), "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}" if text else ""
