"""The objective by group, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from expkit.comparison.groups import Group
from expkit.errors import UserError, nearest
from expkit.pictures import HIGHEST, label

SUFFIXES = (".png", ".svg", ".pdf")


def require_picture(file: Path) -> None:
    """Raise a UserError for a kind of file that cannot be drawn."""
    if file.suffix not in SUFFIXES:
        raise UserError(f"--plot {file}: unknown kind of file; {nearest(file.suffix, SUFFIXES)}")


def draw(groups: Sequence[Group], file: Path) -> None:
    """A panel for each task and objective: means with their standard deviation, and each seed."""
    from matplotlib.figure import Figure

    contests: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        if group.values(group.objective):
            contests.setdefault(group.contest, []).append(group)
    if not contests:
        raise UserError(f"--plot {file}: no run has a value of its objective, so nothing is drawn")
    heights = [len(members) + 1.5 for members in contests.values()]
    figure = Figure(figsize=(8, min(max(0.4 * sum(heights), 2), HIGHEST)), layout="constrained")
    panels = figure.subplots(
        len(contests), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for panel, ((task, objective, _), members) in zip(panels[:, 0], contests.items(), strict=True):
        for row, group in enumerate(members):
            values = group.values(objective)
            panel.plot(values, [row] * len(values), "o", color="tab:blue", alpha=0.35)
            deviation = group.deviation(objective)
            panel.errorbar(
                [group.mean(objective)], [row], xerr=deviation, fmt="D", color="tab:blue", capsize=4
            )
        panel.set_yticks(range(len(members)), [_label(group) for group in members])
        panel.invert_yaxis()
        panel.margins(y=0.2)
        panel.grid(axis="x", alpha=0.3)
        panel.set_xlabel(objective)
        if len(contests) > 1:
            panel.set_title(task.rpartition(".")[2], loc="left", fontsize="medium")
    figure.savefig(file, dpi=120)


def _label(group: Group) -> str:
    parts = (
        f"{key.removesuffix('._target_').rpartition('.')[2]}={value}"
        for key, value in group.differing.items()
    )
    return label(" ".join(parts) or group.jobs[0].name)
