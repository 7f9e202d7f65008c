"""The commands beside a run, one file each: `expkit NAME` and `python -m expkit.NAME`.

The file NAME.py holds a docstring, whose first line `expkit --help` shows, `parser()` and `run(options)`,
which returns whether what was asked for came out. A new file is a new command.
"""

import argparse
import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from expkit.processes.exits import FAILED, exit_codes, watch_output


def summaries() -> dict[str, str]:
    """What each command is for, read without importing it."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    docs = {f.stem: ast.get_docstring(ast.parse(f.read_text(encoding="utf-8"))) for f in files}
    return {name: (doc or "").partition("\n")[0] for name, doc in docs.items()}


def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Carry out a command and end this process with its exit code.

    Args:
        name: of the command.
        arguments: what follows it; None: what was typed after `python -m expkit.NAME`.
    """
    watch_output()
    with exit_codes(f"expkit.{name}"):
        command = import_module(f"expkit.commands.{name}")
        parser = command.parser()
        parser.prog = f"expkit {name}"
        is_done = command.run(parser.parse_args(arguments))
    sys.exit(0 if is_done else FAILED)


def add_trust(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option `--trust`, which names packages of the user's own."""
    about = f"packages of your own from which {what} may come"
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help=about)
