"""What a sweep says at its end: a table, the reasons of failures, and pictures for its parent run."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from expkit.config.direction import MINIMIZE
from expkit.display import say, table
from expkit.metrics.result import final_of
from expkit.pictures import Panel, draw_values, drawn, label
from expkit.tracking.note import Row, verdicts

CURVES = 40  # at most, in one picture


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """The best job for each task and objective, and those that tie with it; others cannot be compared."""
    best: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.value is None or row.value != row.value or not row.direction:
            continue
        contest = row.task, row.objective, row.direction
        leaders = best.setdefault(contest, [row])
        assert leaders[0].value is not None
        sign = -1 if row.direction == MINIMIZE else 1
        if sign * row.value > sign * leaders[0].value:
            best[contest] = [row]
        elif row.value == leaders[0].value and row is not leaders[0]:
            leaders.append(row)
    return [row for leaders in best.values() for row in leaders]


def show(name: str, run_id: str, rows: Sequence[Row]) -> None:
    """The table in the terminal, and below it why jobs have failed."""
    objectives = list(dict.fromkeys(row.objective for row in rows))
    best = best_rows(rows)
    cells = []
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4f}"
        if len(objectives) > 1 and value:
            value = f"{final_of(row.objective)} {value}"
        time = "" if row.seconds is None else f"{row.seconds:.0f} s"
        mark = "*" if row in best else ""
        cells.append([row.name, row.state.lower(), value + mark, time, row.run_id[:8]])
    header = final_of(objectives[0]) if len(objectives) == 1 else "objective"
    table(name, ["job", "state", header, "time", "run"], cells)
    for row in rows:
        if row.state not in ("FINISHED", "PRUNED"):
            place = f" (run {row.run_id})" if row.run_id else ""
            say(f"{row.state.lower()}: {row.name}: {row.error or 'it still runs elsewhere'}{place}")
    for line in verdicts(best):
        say(f"* best   {line}")
    say(f"sweep    {run_id}")
    say("compare  python -m expkit.compare")


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Pictures of the objective by job and of all loss curves; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    if any(row.value is not None for row in rows):
        pictures.append((_draw_objectives, folder / "objective.png"))
    if any(row.losses[0] for row in rows):
        pictures.append((_draw_losses, folder / "loss_curves.png"))
    return [file for draw, file in pictures if drawn(partial(draw, rows), file)]


def _draw_objectives(rows: Sequence[Row], file: Path) -> None:
    """One panel for each objective; a point for each job."""
    members: dict[str, list[tuple[str, list[float]]]] = {}
    for row in rows:
        if row.value is not None:
            members.setdefault(final_of(row.objective), []).append((row.name, [row.value]))
    draw_values([Panel("", name, of_name) for name, of_name in members.items()], file)


def _draw_losses(rows: Sequence[Row], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    curves = [row for row in rows if row.losses[0]][:CURVES]
    for row in curves:
        axes.plot(*row.losses, label=label(row.name), linewidth=1.2)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("train/loss")
    axes.grid(alpha=0.3)
    # Without `handles` it would leave out names that begin with an underscore.
    axes.legend(handles=axes.lines, fontsize="small", ncols=1 + len(curves) // 12)
    figure.savefig(file, dpi=120)
