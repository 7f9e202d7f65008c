"""The values of the objective, drawn for each group."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit.comparison.groups import Group
from expkit.comparison.verdict import Standing
from expkit.metrics.pictures import label
from expkit.terminal.errors import UserError, nearest

SUFFIXES = (".png", ".svg", ".pdf")
MOST_NAMED = 100  # groups of a panel; of more, their points are drawn without their names


def require_picture(file: Path) -> None:
    """Raise a UserError for a kind of file that cannot be drawn."""
    if file.suffix not in SUFFIXES:
        raise UserError(f"--plot {file}: unknown kind of file; {nearest(file.suffix, SUFFIXES)}")


def draw(groups: Sequence[Group], standings: Mapping[str, Standing], file: Path) -> None:
    """Draw a panel for each task and objective: the value of each seed, their mean, and what is known of it.

    Args:
        standings: by the id of a group's first run. The interval of a group's difference to the best is drawn beside the
            best, so that it holds the dashed line if the two cannot be told apart by themselves. A group without a
            standing has the standard deviation.
    """
    from matplotlib.figure import Figure

    contests: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        if group.values(group.objective):
            contests.setdefault(group.contest, []).append(group)
    if not contests:
        raise UserError(f"--plot {file}: no run has a value of its objective, so nothing is drawn")
    heights = [min(len(members), MOST_NAMED) + 1.5 for members in contests.values()]
    figure = Figure(figsize=(8, max(0.4 * sum(heights), 2)), layout="constrained")
    panels = figure.subplots(len(contests), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, ((task, objective, _), members) in zip(panels, contests.items(), strict=True):
        _draw_values(axes, objective, members, standings)
        axes.set_xlabel(objective)
        title = task.rpartition(".")[2] if len(contests) > 1 else ""
        axes.set_title(title, loc="left", fontsize="medium")
    figure.savefig(file, dpi=120)


def _draw_values(
    axes: Any, objective: str, members: Sequence[Group], standings: Mapping[str, Standing]
) -> None:
    for row, group in enumerate(members):
        values = group.values(objective)
        mean, color = group.mean(objective), "tab:blue"
        error: Any = group.deviation(objective)
        if standing := standings.get(group.jobs[0].run_id):
            color = "tab:blue" if standing.survives else "tab:gray"
            mean, best = standing.score, standing.score + standing.difference
            error = [[standing.high - standing.difference], [standing.difference - standing.low]]
            axes.axvline(best, color="tab:blue", linestyle="--", linewidth=1)
        axes.plot(values, [row] * len(values), "o", color=color, alpha=0.35)
        axes.errorbar([mean], [row], xerr=error, fmt="D", color=color, capsize=4)
    if len(members) <= MOST_NAMED:
        axes.set_yticks(range(len(members)), [label(group.name) for group in members])
    axes.invert_yaxis()
    axes.margins(y=0.2)
    axes.grid(axis="x", alpha=0.3)
