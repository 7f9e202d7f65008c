"""Make a project of your own, with data, a recipe, a task, a metric and a test."""

import argparse
import json
import sys
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path

from expkit.config.targets import is_library
from expkit.config.trust import PACKAGES
from expkit.terminal.errors import UserError

TEMPLATE = Path(__file__).with_name("project")
SIZES = {"train": 160, "validation": 40}  # records


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="a new or empty folder; its name is the project's"
    )
    return parser


def run(options: argparse.Namespace) -> bool:
    """Write the files, and say what can be done with them."""
    folder = options.folder.resolve()
    package = _package(folder.name)
    try:
        if folder.exists() and any(path.name != ".git" for path in folder.iterdir()):
            raise UserError(f"{folder}: is not empty, and nothing in it is overwritten")
        for name, text in _files(folder.name, package):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    print(f"{folder}: is a project now, with the package {package}; type make there, or make run")
    return True


def _package(name: str) -> str:
    """The name of the project's package; a dash, which Python does not take, becomes an underscore."""
    package = name.replace("-", "_")
    used = {*PACKAGES, "outputs", *(path.stem for path in TEMPLATE.iterdir())} - {"my_project"}
    is_name = package.isascii() and package.isidentifier() and name.strip("-_") == name
    if not is_name or iskeyword(package):
        raise UserError(
            f"{name!r}: a project is named by letters, digits and dashes, as my-project"
        )
    if package.lower() in used or is_library(package):
        raise UserError(f"{name!r}: something else has this name; take another one")
    return package


def _files(name: str, package: str) -> Iterator[tuple[str, str]]:
    """The files by their paths."""
    from expkit.data.demo.reviews import examples

    def named(text: str) -> str:
        return text.replace("my_project", package).replace("my-project", name)

    for file in TEMPLATE.rglob("*"):
        if file.is_file() and file.suffix != ".pyc":
            yield named(str(file.relative_to(TEMPLATE))), named(file.read_text("utf-8"))
    for split, size in SIZES.items():
        rows = [
            (r["text"], "complaint" if r["score"] < 3 else "praise")
            for r in examples(split, size, 0)
        ]
        lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
        yield f"data/{split}.jsonl", "".join(lines)
    yield "python.mk", "PYTHON ?= " + sys.executable.replace("$", "$$").replace("#", r"\#") + "\n"
