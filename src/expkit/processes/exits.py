"""How a failure becomes a message and an exit code, for `python -m expkit` and every command."""

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from expkit.processes.ranks import is_main, misdescribed
from expkit.terminal.errors import ConfigError, UserError, shortened
from expkit.terminal.secrets import redacted
from expkit.terminal.streams import outlive_readers

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130  # exit codes
MAIN_PRINTS_WITHIN = 5.0  # seconds that the main process has to print its message


@contextmanager
def exit_codes(speaker: str = "expkit") -> Iterator[None]:
    """Print one message and raise SystemExit if the block fails.

    Args:
        speaker: the name of the command, with which the message begins.
    """
    try:
        yield
    except UserError as error:
        raise SystemExit(complain(error, speaker)) from error
    except KeyboardInterrupt:
        if is_main():
            print(f"{speaker}: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        print_error()
        raise SystemExit(FAILED) from error


def complain(error: UserError, speaker: str = "expkit") -> int:
    """Print the message, once for all processes of a run, and return the exit code."""
    message = "\n  ".join(map(shortened, redacted(str(error)).split("\n")))
    # A misdescribed process does not know whether it is the main one.
    if is_main() or misdescribed():
        print(f"{speaker}: {message}", file=sys.stderr)
    else:
        time.sleep(MAIN_PRINTS_WITHIN)  # torchrun ends all processes as soon as one has ended
    return BAD_INPUT if isinstance(error, ConfigError) else FAILED


def print_error() -> None:
    """Print the traceback of the exception that is being handled, without secrets."""
    if is_main():
        print(redacted(traceback.format_exc()), end="", file=sys.stderr)


def watch_output() -> None:
    """Let the process go on if nobody reads its output, and hide secrets in tracebacks."""
    outlive_readers()
    sys.excepthook = _print


def _print(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    lines = traceback.format_exception(kind, error, trace)
    print(redacted("".join(lines)), end="", file=sys.stderr)
