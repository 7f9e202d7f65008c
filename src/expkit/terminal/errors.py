"""Errors that users can mend. They are shown as one message, without a traceback."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from expkit.answering import DataError as DataError
from expkit.answering import UserError


class ConfigError(UserError):
    """The configuration is wrong. The error has all problems that were found, not just the first.

    Args:
        problems: a message for each problem, or the message of the only one.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[list[str]]]:
        """Lets another process get the problems; pickle would pass on the message only."""
        return type(self), (self.problems,)


class Pruned(Exception):
    """A run ends early, between two steps, because other runs of its search are better."""


def nearest(given: object, allowed: Iterable[object]) -> str:
    """Text such as `allowed: a, b, c; did you mean b?` for a message; empty if nothing is allowed."""
    # The time to compare texts grows with the product of their lengths.
    names = [shortened(str(name), 100) for name in allowed]
    if not names:
        return ""
    close = get_close_matches(str(given)[:200], names, n=1, cutoff=0.5)
    shown = names if len(names) <= 40 else [*names[:40], f"... ({len(names)} in all)"]
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"allowed: {', '.join(shown)}{hint}"


def shortened(line: str, longest: int = 2_000) -> str:
    """Cut the middle out of a line that is too long, as a value may be as long as a file."""
    if len(line) <= longest:
        return line
    half = longest // 2
    return f"{line[:half]} … ({len(line) - 2 * half:,} characters left out) … {line[-half:]}"


def reason(error: BaseException) -> str:
    """The reason for a failure, in one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".rstrip(": ")
