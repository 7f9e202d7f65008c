"""Write the descriptions of runs and sweeps, which MLflow shows above them, in Markdown.

The UI hides a description after about six lines, so what matters most comes first.
"""

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from expkit.config.direction import MAXIMIZE, MINIMIZE, direction_of
from expkit.metrics.names import key_of
from expkit.metrics.result import VALIDATION, final_of, set_of
from expkit.terminal.display import number
from expkit.terminal.errors import shortened
from expkit.terminal.secrets import without_address

NOTE = "mlflow.note.content"
NOTE_LIMIT = 7500  # characters of a description; MLflow cuts at 8000, perhaps in a row of a table
SCORES_LIMIT = 4500  # characters of a run's table of scores, which leaves room for what follows it
LINE_LIMIT = 1000  # characters of a command or of a reason
ERROR_LIMIT = 120  # characters of a reason in a sweep's table; the job's page has all of it
MOST_NAMED = 5  # jobs that tie, in a verdict; the table marks all of them

BETTER = {MAXIMIZE: "higher is better", MINIMIZE: "lower is better"}

Scores = tuple[list[str], list[list[str]]]  # the header of a table, and its rows

# What the user can do next, for each way in which a run may end.
AFTER_FAILURE = "Fix that, and run the same command with `resume=auto`: it goes on after the last checkpoint, or starts anew if there is none. `traceback.txt` among the artifacts says where it happened."
AFTER_SIGNAL = "Without a checkpoint it starts anew."
AFTER_PRUNING = "Its search ended it early because others were better. Nothing can go on with it."
UNFINISHED = "This run has not ended."  # the description until a run ends
WHILE_UNFINISHED = "If its state is not RUNNING, its process died without a message, for example because memory ran out; the same command with `resume=auto` goes on."


@dataclass(frozen=True)
class Row:
    """What became of a job. `state` is a state of MLflow, PRUNED, DELETED or NOT STARTED."""

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
    direction: str = ""  # minimize or maximize
    register: str = ""  # tracking.register of the job
    runs: Sequence[str] = ()  # those of all folds, for a row that stands for a configuration

    @property
    def contest(self) -> tuple[str, str, str]:
        """Return what two jobs must share for one of them to be the better."""
        return self.task, self.objective, self.direction


def command_of(typed: Sequence[str]) -> str:
    """Return the command as a shell reads it, without the store's address; empty without overrides."""
    return shlex.join(["python", "-m", "expkit", *without_address(typed)]) if typed else ""


def with_direction(metric: str, direction: str) -> str:
    """Return `final/f1 (higher is better)`, or the metric alone if its direction is unknown."""
    return f"{metric} ({BETTER[direction]})" if direction in BETTER else metric


def score_table(
    results: Mapping[str, Mapping[str, float]], baseline: Mapping[str, float]
) -> Scores:
    """Return the header and the rows of a table with each metric on each split, and of the baseline.

    `results` holds metrics by split, and `baseline` metrics with names such as `majority_f1`; a task may have none.
    """
    kind = next(iter(baseline), "").partition("_")[0]
    of_baseline = {name.partition("_")[2]: value for name, value in baseline.items()}
    # A split may lack a metric of another one, such as the F1 of a type of entity that it does not hold.
    rows = [
        [name, *(number(s[name]) if name in s else "" for s in (*results.values(), of_baseline))]
        for name in dict.fromkeys(name for scores in results.values() for name in scores)
    ]
    return ["metric", *results, f"{kind} baseline".strip()], rows


def note_of_run(
    run_id: str,
    config: Mapping[str, Any],
    scores: Scores,
    names: Mapping[str, str],
    command: str,
    folder: Path,
    remarks: Sequence[str] = (),
) -> str:
    """Describe a finished run: its result, the command, all scores, and how to use the model.

    `scores` comes from `score_table`, `remarks` from the task, `names` are those of data and model, and `folder` holds the model.
    """
    header, rows = scores
    objective, has_model = config["objective"], config["tracking"]["log_model"]
    by_name = {row[0]: row for row in rows}
    row, place = by_name.get(objective.partition("/")[2]), header.index(set_of(objective))
    value = row[place] if row else "nan"
    reference = row[-1] if row and set_of(objective) == VALIDATION else ""  # of that split alone
    scored = with_direction(f"{final_of(objective)} {value}", direction_of(config))
    beside = f"; {in_markdown(header[-1])} {reference}" if reference else ""
    cells = [[in_markdown(cell) for cell in row] for row in rows]
    data, model = in_markdown(names["data"]), in_markdown(names["model"])
    loaded = f"""\
mlflow.pyfunc.load_model("runs:/{run_id}/model")  # predict takes a list of texts
mlflow.transformers.load_model("runs:/{run_id}/model", return_type="components")"""
    parts = [
        f"**{in_markdown(scored)}**{beside}",
        _code(command),
        _code(loaded, "python") if has_model else "",
        _table(["metric", "final (validation)", *header[2:]], cells, "metrics", SCORES_LIMIT),
        in_markdown(" ".join(f"{remark}." for remark in remarks)),
        f"Data: {data}. Model: {model}, now in {in_markdown(str(folder))}",
        _code(f"python -m expkit.predict {run_id} --text ...") if has_model else "",
    ]
    return "\n\n".join(filter(None, parts))


def note_of_failure(why: str, what_next: str, command: str) -> str:
    """Describe a run that has not finished: why, what to do, and the command unless it is empty."""
    first = f"**{in_markdown(shortened(why, LINE_LIMIT))}**"
    return "\n\n".join(filter(None, [first, what_next, _code(command)]))


def verdicts(best: Sequence[Row]) -> list[str]:
    """Return one line for each contest, with the best job or those that tie, and their value."""
    lines = []
    for (_, objective, direction), tied in groupby(best, key=lambda row: row.contest):
        rows = list(tied)
        scored = with_direction(f"{final_of(objective)} {number(rows[0].value or 0.0)}", direction)
        for key, value in rows[0].metrics.items():
            kind = key.removeprefix("baseline/").partition("_")[0]
            if f"baseline/{kind}_{key_of(objective).removeprefix('eval/')}" == key:
                scored += f"; {kind} baseline {number(value)}"
        names = ", ".join(row.name for row in rows[:MOST_NAMED])
        names += ", …" if len(rows) > MOST_NAMED else ""
        tie = f"{len(rows)} jobs tie: " if len(rows) > 1 else ""
        lines.append(f"{tie}{names}: {scored}")
    return lines


def figures(rows: Sequence[Row]) -> tuple[str, list[tuple[str, str]]]:
    """Return the title of a column with values, and the value and the time of each row as texts."""
    finals = [final_of(row.objective) for row in rows]
    title = finals[0] if len(set(finals)) == 1 else "objective"
    shown = []
    for row, final in zip(rows, finals, strict=True):
        value = "" if row.value is None else number(row.value)
        named = f"{final} {value}" if value and title != final else value
        shown.append((named, "" if row.seconds is None else f"{row.seconds:.0f} s"))
    return title, shown


def note_of(
    rows: Sequence[Row],
    best: Sequence[Row],
    address: Callable[[str], str],
    views: Mapping[str, str],
    verdict: Sequence[str],
    marked: Collection[str],
) -> str:
    """Describe a sweep: links to its `views`, the verdict, the best job, and all jobs with links to their pages.

    Args:
        marked: the ids of the runs that cannot be told from the best.
    """
    links = " · ".join(f"[{words}]({target})" for words, target in views.items())
    title, shown = figures(rows)
    mark = "may be the best" if verdict and len(marked) > 1 else "best"
    cells = []
    for row, (value, time) in zip(rows, shown, strict=True):
        name = (
            f"[{in_markdown(row.name)}]({address(row.run_id)})"
            if row.run_id
            else in_markdown(row.name)
        )
        state = row.state.lower() + (
            f": {in_markdown(row.error[:ERROR_LIMIT])}" if row.error else ""
        )
        result = f"**{in_markdown(value)}** {mark}" if row.run_id in marked else in_markdown(value)
        cells.append([name, result, state, time])
    header = ["job", in_markdown(title), "state", "time"]
    table = _table(header, cells, "jobs are in sweep/jobs.json", NOTE_LIMIT)
    lines = [
        f"**{in_markdown(line)}**" if not n else in_markdown(line) for n, line in enumerate(verdict)
    ]
    lines += [f"Best: {in_markdown(line)}" for line in verdicts(best)]
    if len(best) == 1 and best[0].run_id:
        lines[-1] += f" – [how to load it and get predictions]({address(best[0].run_id)})"
    # The links come first, because those under the shade at the end of the visible part cannot be clicked.
    return "\n\n".join([links, *lines, table])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], what: str, room: int) -> str:
    """Return a table of as many rows as fit into `room` characters, and say how many more there are."""
    # The UI leaves no space between the columns of a table.
    first, *lines = ["".join(f"| {cell}&emsp;" for cell in row) + "|" for row in (header, *rows)]
    fitting = sum(end <= room for end in accumulate(len(line) + 1 for line in lines))
    more = ["", f"{len(lines) - fitting} more {what}"] if fitting < len(lines) else []
    return "\n".join([first, "|:--" * len(header) + "|", *lines[:fitting], *more])


def in_markdown(text: str) -> str:
    """Return the text on one line, with escapes where Markdown would end a cell or start a link."""
    return " ".join(re.sub(r"[\\|\[\]*_`<>~&]", r"\\\g<0>", text).splitlines())


def _code(text: str, language: str = "") -> str:
    """Return a block of code, whose fence has more backticks than any in the text; empty without text."""
    text, fence = "\n".join(shortened(line, LINE_LIMIT) for line in text.splitlines()), "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}" if text else ""
