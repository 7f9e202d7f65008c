"""What the commands beside `python -m expkit` have in common."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from expkit.terminal.errors import INTERRUPTED, UserError
from expkit.terminal.secrets import hidden, watch_tracebacks
from expkit.terminal.streams import outlive_readers


@contextmanager
def command(name: str) -> Iterator[None]:
    """Show errors that are the user's to mend, and Ctrl-C, as one message of `expkit.<name>`."""
    outlive_readers()
    watch_tracebacks()
    try:
        yield
    except UserError as error:
        message = hidden(str(error)).replace("\n", "\n  ")
        sys.exit(f"expkit.{name}: {message}")
    except KeyboardInterrupt:
        print(f"expkit.{name}: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def add_trust(parser: argparse.ArgumentParser, what: str) -> None:
    """The option `--trust`, for code of the user's own."""
    about = f"packages of your own from which {what} may come"
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help=about)
