"""The commands other than a run: each file NAME.py here is `expkit NAME` and `python -m expkit.NAME`.

A file has `parser()`, which returns an argparse parser, and `run(options)`, which returns whether the command
succeeded. `expkit --help` shows the first line of its docstring, and its example in MENU.
"""

import argparse
import ast
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from expkit.config.project import decided_once
from expkit.processes.exits import FAILED, exit_codes, watch_output

# Each command stands here once, with an example of what may follow its name.
MENU = """
a project of your own:
  init my-project
  schema
before a run:
  inspect data=files data.train_file=train.jsonl data.validation_file=dev.csv
look at runs:
  compare --plot means.svg
  report --out report
  ui --port 5001
go on with finished runs:
  predict RUN_ID --text "First text." "Second text."
  evaluate RUN_ID --file june.jsonl
  rescore SWEEP_ID --metric mf=expkit.metrics.classification.MacroF1
  reproduce RUN_ID
  sync
this machine:
  doctor
  completion bash
"""


def summaries() -> dict[str, str]:
    """Return the first line of each command's docstring, by name, without importing the command."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    docs = {f.stem: ast.get_docstring(ast.parse(f.read_text(encoding="utf-8"))) for f in files}
    return {name: (doc or "").partition("\n")[0] for name, doc in docs.items()}


def menu() -> str:
    """Return MENU with the summary of each command before its example."""
    known = summaries()
    return re.sub(
        r"(?m)^  (\w+)",
        lambda found: f"  {found[1]:<12}{known[found[1]]}\n{'':<14}expkit {found[1]}",
        MENU,
    )


def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Carry out a command and end this process with its exit code.

    `arguments` follow the name of the command; None stands for those of `python -m expkit.NAME`.
    """
    watch_output()
    with exit_codes(f"expkit.{name}"), decided_once():
        command = import_module(f"expkit.commands.{name}")
        parser = command.parser()
        parser.prog = f"expkit {name}"
        succeeded = command.run(parser.parse_args(arguments))
    sys.exit(0 if succeeded else FAILED)


def add_trust(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option `--trust`, which names packages of the user."""
    about = f"packages of your own from which {what} may come"
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help=about)
