"""Draw pictures, and leave out one that fails or takes long, so that it stops no run."""

import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from expkit.terminal.display import say
from expkit.terminal.errors import reason

LONGEST = 60.0  # seconds that a picture may take


def drawn(draw: Callable[[Path], object], file: Path) -> bool:
    """Let `draw` write the file, and return whether it has; if not, say why in one line."""
    problems: list[str] = []

    def work() -> None:
        try:
            draw_plainly(draw, file)
        except Exception as error:  # matplotlib, or the task of a user, may raise anything
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
    """Draw text literally: a `$` begins no formula, and a glyph that the font lacks becomes a box."""
    from matplotlib import rc_context

    with warnings.catch_warnings(), rc_context({"text.parse_math": False}):
        warnings.simplefilter("ignore")
        draw(file)


def label(name: str, limit: int = 100) -> str:
    """Return the name on one line, without its middle if it has more characters than `limit`."""
    text = " ".join(name.split())
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[1 - half :]}"
