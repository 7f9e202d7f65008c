"""What tests with random inputs share."""

import re
from pathlib import Path

from hypothesis import HealthCheck, settings


def fuzzed(examples: int) -> settings:
    """So many examples, or as many as the profile asks for."""
    return settings(
        max_examples=max(settings().max_examples, examples),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def line_in(message: str, file: Path) -> int | None:
    """The line or record of a file that a message names first."""
    found = re.search(rf"{re.escape(str(file))}, (?:line|record) (\d+)", message)
    return int(found[1]) if found else None


def own_lines(message: str, folder: Path) -> list[int]:
    """All lines and records of files in a folder that a message names."""
    place = rf"{re.escape(str(folder))}/[\w.]+, (?:line|record) (\d+)"
    return [int(number) for number in re.findall(place, message)]
