"""Make a project of your own, with data, a recipe, a task, a metric and a test."""

import argparse
import json
import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from expkit.commands import schema
from expkit.config.targets import is_library
from expkit.config.trust import PACKAGES
from expkit.data.demo.reviews import examples
from expkit.terminal.errors import UserError

TEMPLATE = Path(__file__).with_name("project")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new or empty; its name is the project's")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Write the files, and say how to go on."""
    folder = options.folder.resolve()
    package = _package(folder.name)
    files = [file for file in TEMPLATE.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    texts = {str(file.relative_to(TEMPLATE)): file.read_text("utf-8") for file in files}
    for split, size in {"train": 160, "validation": 40}.items():
        rows = [(row, row["score"] < 3) for row in examples(split, size, seed=0)]
        labelled = [{**row, "label": "complaint" if bad else "praise"} for row, bad in rows]
        texts[f"data/{split}.jsonl"] = "".join(json.dumps(row) + "\n" for row in labelled)
    texts["python.mk"] = f"PYTHON ?= {sys.executable}\n".replace("$", "$$").replace("#", r"\#")
    try:
        if folder.exists() and any(path.name != ".git" for path in folder.iterdir()):
            raise UserError(f"{folder}: is not empty, and nothing in it is overwritten")
        for name, text in texts.items():
            file = folder / name.replace("my_project", package)
            file.parent.mkdir(parents=True, exist_ok=True)
            text = text.replace("my_project", package).replace("my-project", folder.name)
            file.write_text(text, encoding="utf-8")
        schema.write(folder / "conf")
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    print(f"{folder}: is a project now, with the package {package}; type make there, or make run")
    return True


def _package(name: str) -> str:
    """The name of the project's package, with underscores for dashes, which Python does not take."""
    package = name.replace("-", "_")
    used = {*PACKAGES, "data", "outputs", *(path.stem.lower() for path in TEMPLATE.iterdir())}
    if not package.isidentifier() or not name.isascii() or name.strip("-_") != name:
        why = "allowed: letters from a to z, digits, dashes and underscores, such as my-project"
    elif iskeyword(package) or package.lower() in used - {"my_project"}:
        why = "it is a word of Python, or a file of the project has that name"
    elif is_library(package) or ((spec := find_spec(package)) and spec.origin):
        why = "another package has that name"
    else:
        return package
    raise UserError(f"{name!r}: is no name for a project; {why}")
