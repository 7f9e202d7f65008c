"""Pictures: one that fails or takes long is left out, and what it was to show goes on."""

import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from expkit.display import say
from expkit.errors import reason

LONGEST = 60.0  # seconds for a picture
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
