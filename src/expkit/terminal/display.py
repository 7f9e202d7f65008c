"""Prints lines and tables, and shows the progress bar."""

import io
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from expkit.terminal.secrets import redacted

IN_NOTEBOOK = Console().is_jupyter
# In a notebook plain text, of which rich would make a piece of HTML for each line.
console = Console(
    highlight=False,
    markup=False,
    emoji=False,
    force_jupyter=False,
    force_terminal=False if IN_NOTEBOOK else None,
)

_recorders: list[list[str]] = []


def number(value: float) -> str:
    """A score with four decimals, or with four digits if it is very small or very large."""
    is_usual = value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e6
    return f"{value + 0.0:.4f}" if is_usual else f"{value:.4g}"  # -0.0 has no sign either


def say(message: str) -> None:
    """Print one line about what happens now."""
    message = redacted(message)
    for recorder in _recorders:
        recorder.append(message)
    console.print(message, soft_wrap=True)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the lines that `say` prints in the block, so that they can be printed again later."""
    messages: list[str] = []
    _recorders.append(messages)
    try:
        yield messages
    finally:
        _recorders.remove(messages)


def tell(message: str) -> None:
    """Print a message in lines that are as wide as the terminal."""
    console.print(redacted(message))


class Progress:
    """The steps that are done, with loss and rate: a bar on a terminal or in a notebook, elsewhere a line now and then."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._output: Any = None  # of the notebook's cell, which shows the bar
        self._drawn = -math.inf  # when it was drawn there
        if IN_NOTEBOOK:
            from IPython.display import display

            self._output = display({"text/plain": ""}, raw=True, display_id=True)
        self._is_live = console.is_terminal or self._output is not None
        self._loss = self._rate = float("nan")
        self._next_line = 0.1
        self._bar = progress.Progress(
            progress.TextColumn("train"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("loss {task.fields[loss]:.4f}"),
            progress.TextColumn("{task.fields[rate]:.0f} samples/s"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=total, loss=self._loss, rate=self._rate)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._draw(every=0.0)

    def show(self, *, loss: float, rate: float) -> None:
        """Set the figures beside the bar."""
        self._loss, self._rate = loss, rate
        self._bar.update(self._task, loss=loss, rate=rate)

    def advance(self, done: int) -> None:
        """Show that so many steps are done."""
        self._bar.update(self._task, completed=done)
        self._draw(every=0.2)
        if not self._is_live and done >= self._next_line * self._total and self._rate == self._rate:
            say(f"  step {done}/{self._total}  loss {self._loss:.4f}  {self._rate:.0f} samples/s")
            while self._next_line * self._total <= done:
                self._next_line += 0.1

    def _draw(self, every: float) -> None:
        """Draw the bar in the notebook, if it is older than `every` seconds."""
        if self._output is not None and time.monotonic() - self._drawn > every:
            page = Console(file=io.StringIO(), width=100, force_jupyter=False, force_terminal=False)
            page.print(self._bar.get_renderable())
            self._output.update({"text/plain": page.file.getvalue().rstrip()}, raw=True)  # type: ignore[attr-defined]
            self._drawn = time.monotonic()

    def evaluated(self, done: int, metrics: Mapping[str, float]) -> None:
        """Print one line with the metrics of an evaluation."""
        figures = "  ".join(f"{name} {number(value)}" for name, value in metrics.items())
        say(f"  step {done}/{self._total}  {figures}")


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], bold: Collection[int] = ()
) -> None:
    """Print a small table; all columns but the first are aligned to the right.

    Args:
        bold: the numbers of the rows that are printed in bold.
    """
    grid = Table(title=redacted(title), title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for i, row in enumerate(rows):
        grid.add_row(*(Text(redacted(cell), style="bold" if i in bold else "") for cell in row))
    console.print(grid)
