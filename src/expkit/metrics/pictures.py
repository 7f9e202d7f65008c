"""Pictures: one that fails or takes long is left out, and what it was to show goes on."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from threading import Thread

from expkit.terminal.display import say
from expkit.terminal.errors import reason

LONGEST = 60.0  # seconds for a picture
NAMED = 100  # of more members of a panel there are points, and no names
HIGHEST = 500.0  # inches; matplotlib makes no picture of more than 65,536 pixels


def drawn(draw: Callable[[Path], object], file: Path) -> bool:
    """Whether `draw` has written the file; if not, one line says why."""
    problems: list[str] = []

    def work() -> None:
        try:
            draw_plainly(draw, file)
        except Exception as error:  # whatever a task of the user's own or matplotlib raises
            problems.append(reason(error))

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(LONGEST)
    if thread.is_alive():
        problems.append(f"it was not ready after {LONGEST:.0f} s")
    for problem in problems:
        say(f"picture {file.name} is left out: {problem}")
    return not problems


def draw_plainly(draw: Callable[[Path], object], file: Path) -> None:
    """Draw names as they are written: a `$` begins no formula. A missing glyph becomes a box."""
    from matplotlib import rc_context

    with warnings.catch_warnings(), rc_context({"text.parse_math": False}):
        warnings.simplefilter("ignore")
        draw(file)


def label(name: str, limit: int = 100) -> str:
    """On one line, and without its middle if it has more characters than `limit`."""
    text = " ".join(name.split())
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[1 - half :]}"


@dataclass(frozen=True)
class Panel:
    """The values of an objective, one or more of each name."""

    title: str
    objective: str
    members: Sequence[tuple[str, Sequence[float]]]


def draw_values(panels: Sequence[Panel], file: Path) -> None:
    """Each value as a point, and the mean with the sample standard deviation where there are several."""
    from matplotlib.figure import Figure

    heights = [min(len(panel.members), NAMED) + 1.5 for panel in panels]
    figure = Figure(figsize=(8, min(max(0.4 * sum(heights), 2), HIGHEST)), layout="constrained")
    drawn = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, panel in zip(drawn[:, 0], panels, strict=True):
        for row, (_, values) in enumerate(panel.members):
            spread = stdev(values) if len(values) > 1 else None
            axes.plot(values, [row] * len(values), "o", color="tab:blue", alpha=0.35)
            axes.errorbar([fmean(values)], [row], xerr=spread, fmt="D", color="tab:blue", capsize=4)
        if len(panel.members) <= NAMED:
            names = [label(name) for name, _ in panel.members]
            axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.margins(y=0.2)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(panel.objective)
        axes.set_title(panel.title if len(panels) > 1 else "", loc="left", fontsize="medium")
    figure.savefig(file, dpi=120)
