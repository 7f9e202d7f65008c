"""The objective by group, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from expkit.comparison.groups import Group
from expkit.metrics.pictures import Panel, draw_values
from expkit.terminal.errors import UserError, nearest

SUFFIXES = (".png", ".svg", ".pdf")


def require_picture(file: Path) -> None:
    """Raise a UserError for a kind of file that cannot be drawn."""
    if file.suffix not in SUFFIXES:
        raise UserError(f"--plot {file}: unknown kind of file; {nearest(file.suffix, SUFFIXES)}")


def draw(groups: Sequence[Group], file: Path) -> None:
    """A panel for each task and objective, with the values of all seeds of each group."""
    contests: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        if group.values(group.objective):
            contests.setdefault(group.contest, []).append(group)
    if not contests:
        raise UserError(f"--plot {file}: no run has a value of its objective, so nothing is drawn")
    panels = [
        Panel(task.rpartition(".")[2], name, [(_label(g), g.values(name)) for g in members])
        for (task, name, _), members in contests.items()
    ]
    draw_values(panels, file)


def _label(group: Group) -> str:
    parts = (
        f"{key.removesuffix('._target_').rpartition('.')[2]}={value}"
        for key, value in group.differing.items()
    )
    return " ".join(parts) or group.jobs[0].name
