"""The descriptions that MLflow shows on top of a run and of a sweep, in Markdown.

The UI folds a description after about six lines, so what matters most comes first.
"""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expkit.config.direction import MAXIMIZE, MINIMIZE
from expkit.errors import shortened
from expkit.metrics.result import final_of

NOTE = "mlflow.note.content"
NOTE_LIMIT = 7500  # characters; MLflow cuts at 8000, which might be inside a row
SCORES_LIMIT = 4500  # characters of the table of a run, so that what follows it has room as well
LINE_LIMIT = 1000  # characters of a command or of a reason
ERROR_LIMIT = 120  # characters of a reason in the table; the job has all of it
NAMED = 5  # jobs that tie, by name; all of them are marked in the table

BETTER = {MAXIMIZE: "higher is better", MINIMIZE: "lower is better"}

# What to do next, by what has become of a run.
AFTER_FAILURE = "`traceback.txt` among the artifacts says where. When it is mended, the same command with `resume=auto` goes on after the last checkpoint, or begins anew if there is none."
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


def command_of(overrides: Sequence[str]) -> str:
    """The command with these overrides, so that a shell reads it as it was meant."""
    return shlex.join(["python", "-m", "expkit", *overrides])


def with_direction(metric: str, direction: str) -> str:
    """`final/f1 (higher is better)`; the metric alone where nobody has said its direction."""
    return f"{metric} ({BETTER[direction]})" if direction in BETTER else metric


def score_table(
    results: Mapping[str, Mapping[str, float]], baseline: Mapping[str, float]
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table: each metric on each split, and beside it the baseline's.

    Args:
        results: metrics by split, `validation` among them.
        baseline: metrics by names such as `majority_f1`.
    """
    kind, base = _parted(baseline)
    # A split may lack a metric that another has: the F1 of a type of entity that it does not hold.
    scores = [*results.values(), base]
    rows = [
        [metric, *(f"{of_split[metric]:.4f}" if metric in of_split else "" for of_split in scores)]
        for metric in results["validation"]
    ]
    return ["metric", *results, f"{kind} baseline"], rows


def note_of_run(
    run_id: str,
    objective: str,
    direction: str,
    results: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, float],
    *,
    command: str,
    data: str,
    model: str,
    folder: Path,
    is_logged: bool,
) -> str:
    """Of a run that has finished: its result, the command, all scores, and how to use the model.

    Args:
        results, baseline: as in `score_table`.
        command: as it was typed; empty if nothing was.
        data, model: their short names.
        folder: where the exported model lies.
        is_logged: whether MLflow has the model too.
    """
    metric = objective.removeprefix("eval/")
    value = results["validation"].get(metric, math.nan)
    scored = with_direction(f"{final_of(objective)} {value:.4f}", direction)
    first = f"**{_text(scored)}**"
    kind, base = _parted(baseline)
    if metric in base:
        first += f"; {_text(kind)} baseline {base[metric]:.4f}"
    header, rows = score_table(results, baseline)
    cells = [[_text(cell) for cell in row] for row in rows]
    loaded = f"""\
mlflow.pyfunc.load_model("runs:/{run_id}/model")  # has predict(["a text"])
mlflow.transformers.load_model("runs:/{run_id}/model", return_type="components")"""
    parts = [
        first,
        _code(command) if command else "",
        _table(["metric", "final (validation)", *header[2:]], cells, "metrics", SCORES_LIMIT),
        f"Data: {_text(data)}. Model: {_text(model)}, now in {_text(str(folder))}",
        _code(loaded, "python") if is_logged else "",
        _code(f"python -m expkit.predict {run_id} --text ..."),
    ]
    return "\n\n".join(filter(None, parts))


def note_of_failure(why: str, what_next: str, command: str) -> str:
    """Of a run that has not finished: why, what to do, and the command, if one was typed."""
    first = f"**{_text(shortened(why, LINE_LIMIT))}**"
    return "\n\n".join([first, what_next, *([_code(command)] if command else [])])


def verdicts(best: Sequence[Row]) -> list[str]:
    """One line for each task and objective: the best job, or that several tie, with their value."""
    contests: dict[tuple[str, str, str], list[Row]] = {}
    for row in best:
        contests.setdefault((row.task, row.objective, row.direction), []).append(row)
    lines = []
    for (_, objective, direction), rows in contests.items():
        scored = with_direction(f"{final_of(objective)} {rows[0].value:.4f}", direction)
        names = ", ".join(row.name for row in rows[:NAMED]) + (", …" if len(rows) > NAMED else "")
        tie = f"{len(rows)} jobs tie: " if len(rows) > 1 else ""
        lines.append(f"{tie}{names}: {scored}")
    return lines


def note_of(
    rows: Sequence[Row],
    best: Sequence[Row],
    address: Callable[[str], str],
    views: Mapping[str, str],
) -> str:
    """Of a sweep: links to its `views`, which job is the best, and all jobs with links to their pages."""
    objectives = list(dict.fromkeys(row.objective for row in rows))
    value = final_of(objectives[0]) if len(objectives) == 1 else "objective"
    named = len(objectives) > 1
    links = " · ".join(f"[{words}]({target})" for words, target in views.items())
    cells = [_cells(row, row in best, named=named, address=address) for row in rows]
    header = ["job", _text(value), "state", "time"]
    table = _table(header, cells, "jobs are in sweep/jobs.json", NOTE_LIMIT)
    return "\n\n".join([links, *(f"Best: {_text(line)}" for line in verdicts(best)), table])


def _parted(baseline: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """What the baseline is, such as `majority`, and its scores by metric."""
    kind = next(iter(baseline), "").partition("_")[0]
    return kind, {name.partition("_")[2]: value for name, value in baseline.items()}


def _cells(row: Row, is_best: bool, *, named: bool, address: Callable[[str], str]) -> list[str]:
    name = _text(row.name)
    if row.run_id:
        name = f"[{name}]({address(row.run_id)})"
    value = "" if row.value is None else f"{row.value:.4f}"
    if named and value:
        value = _text(f"{final_of(row.objective)} {value}")
    if is_best:
        value = f"**{value}** best"
    state = row.state.lower()
    if row.error:
        state = f"{state}: {_text(row.error[:ERROR_LIMIT])}"
    return [name, value, state, "" if row.seconds is None else f"{row.seconds:.0f} s"]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], what: str, room: int) -> str:
    """As many rows as fit into so many characters; then how many more of `what` there are."""
    lines = [_joined(header), "|:--" * len(header) + "|"]
    for number, row in enumerate(rows):
        line = _joined(row)
        room -= len(line) + 1
        if room < 0:
            lines += ["", f"{len(rows) - number} more {what}"]
            break
        lines.append(line)
    return "\n".join(lines)


def _joined(cells: Sequence[str]) -> str:
    """A row; the UI draws the columns of a table without space between them."""
    return "".join(f"| {cell}&emsp;" for cell in cells) + "|"


def _text(text: str) -> str:
    """One line without what would end a cell, or start a link, an entity or other Markdown."""
    for character in "\\|[]*_`<>~&":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.splitlines())


def _code(text: str, language: str = "") -> str:
    """A block of code, fenced by more backticks than the text has in a row."""
    text, fence = "\n".join(shortened(line, LINE_LIMIT) for line in text.splitlines()), "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
