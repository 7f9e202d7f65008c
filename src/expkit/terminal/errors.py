"""Errors that are the user's to mend: shown as one message, without a traceback."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(Exception):
    """Something that was asked for cannot be done; the message says what, and what to do."""


class ConfigError(UserError):
    """The configuration is wrong. Carries every problem that was found, not just the first.

    Args:
        problems: a message for each problem, or the message of the only one.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[list[str]]]:
        """Exceptions are sent from process to process by their message; this one by its problems."""
        return type(self), (self.problems,)


class Pruned(Exception):
    """A run was ended early because others of its search are better; raised between two steps."""


class DataError(UserError):
    """The data cannot be used; the message names the file and, where there is one, the line."""


def nearest(given: object, allowed: Iterable[object]) -> str:
    """`allowed: a, b, c; did you mean b?` for an error message; empty if nothing is allowed."""
    # Comparing texts takes time that grows with the product of their lengths.
    names = [shortened(str(name), 100) for name in allowed]
    if not names:
        return ""
    close = get_close_matches(str(given)[:200], names, n=1, cutoff=0.5)
    shown = names if len(names) <= 40 else [*names[:40], f"... ({len(names)} in all)"]
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"allowed: {', '.join(shown)}{hint}"


def shortened(line: str, longest: int = 2_000) -> str:
    """`line` without its middle if it is too long to read: a value may be as long as a file."""
    if len(line) <= longest:
        return line
    half = longest // 2
    return f"{line[:half]} … ({len(line) - 2 * half:,} characters left out) … {line[-half:]}"


def reason(error: BaseException) -> str:
    """Why something failed, in one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".rstrip(": ")
