"""The description that MLflow shows on top of a sweep: its table, with links to the jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

NOTE = "mlflow.note.content"
NOTE_LIMIT = 7500  # characters; MLflow cuts at 8000, which might be inside a row
ERROR_LIMIT = 120  # characters of a reason in the table; the job has all of it


@dataclass(frozen=True)
class Row:
    """What became of a job. `state` is one of MLflow's, PRUNED, or NOT STARTED.

    `losses` are (steps, values) of train/loss.
    """

    name: str
    differing: Mapping[str, str]
    state: str
    objective: str
    value: float | None = None
    run_id: str = ""
    seconds: float | None = None
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[Sequence[int], Sequence[float]] = ((), ())
    task: str = ""
    direction: str = ""  # minimize or maximize; of a row with a value


def note_of(rows: Sequence[Row], best: Sequence[Row], address: Callable[[str], str]) -> str:
    """Markdown. `address` gives the page of a run."""
    objectives = list(dict.fromkeys(row.objective for row in rows))
    value = objectives[0] if len(objectives) == 1 else "objective"
    lines = [_joined("job", value, "state", "time"), "|:--|:--|:--|:--|"]
    room = NOTE_LIMIT
    for number, row in enumerate(rows):
        line = _line(row, row in best, named=len(objectives) > 1, address=address)
        room -= len(line) + 1
        if room < 0:
            lines += ["", f"and {len(rows) - number} more in sweep/jobs.json"]
            break
        lines.append(line)
    return "\n".join(lines)


def _line(row: Row, is_best: bool, *, named: bool, address: Callable[[str], str]) -> str:
    name = _cell(row.name)
    if row.run_id:
        name = f"[{name}]({address(row.run_id)})"
    value = "" if row.value is None else f"{row.value:.4f}"
    if named and value:
        value = f"{row.objective} {value}"
    if is_best:
        value = f"**{value}** best"
    state = row.state.lower()
    if row.error:
        state = f"{state}: {_cell(row.error[:ERROR_LIMIT])}"
    time = "" if row.seconds is None else f"{row.seconds:.0f} s"
    return _joined(name, value, state, time)


def _joined(*cells: str) -> str:
    """A row; the UI draws the columns of a table without space between them."""
    return "".join(f"| {cell}&emsp;" for cell in cells) + "|"


def _cell(text: str) -> str:
    """Without what would end a cell or start a link."""
    for character in "\\|[]*_`<>":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
