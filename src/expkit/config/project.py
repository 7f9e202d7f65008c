"""Where the config groups and the project's outputs lie."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expkit.terminal.errors import UserError

PROJECT_MARKS = ("outputs", "pyproject.toml", ".git")
COMMON = "common"  # in the folder of a run: the state from which a longer run can go on
_decided: Path | None = None


def conf_dir() -> Path:
    """The folder with the config groups: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def project_root() -> Path:
    """The folder that `decided_once` or `take_over` keeps, else the nearest project around the working directory."""
    if _decided is not None:
        return _decided
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / mark).exists() for mark in PROJECT_MARKS):
            return folder
    return here


@contextmanager
def decided_once() -> Iterator[None]:
    """Keep the project of the working directory, wherever Hydra or a component goes meanwhile, and find its modules."""
    global _decided
    before = _decided
    take_over(str(project_root()))
    try:
        yield
    finally:
        _decided = before


def take_over(root: str | None) -> None:
    """Keep the project of the parent; called in processes that expkit itself has started."""
    global _decided
    if root is not None:
        _decided = Path(root)
        if root not in sys.path:
            sys.path.append(root)  # so that no file there hides a module of Python


def own_conf() -> Path | None:
    """The folder `conf` of the user's project; None if there is none, or in a checkout of expkit."""
    conf = project_root() / "conf"
    is_ours = (conf.parent / "src" / "expkit").is_dir()
    return conf if conf.is_dir() and not is_ours else None


def output_dir() -> Path:
    """Runs, caches and the MLflow store of this project."""
    return project_root() / "outputs"


def require_outputs() -> None:
    """Raise a UserError if runs cannot be kept in `output_dir`."""
    folder = output_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        kind = "link to nothing" if there.is_symlink() else "file"
        raise UserError(f"{there}: is a {kind}, and expkit keeps runs in a folder there; remove it")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"{there}: must not be written to, and expkit keeps runs in {folder}; change its "
            "permissions or work in another folder"
        )


def is_file_name(text: str) -> bool:
    """Whether a text is safe as the name of a file, which means that it cannot lead out of a folder."""
    return re.fullmatch(r"\w[\w. -]*", text) is not None


def run_folder(run_id: str) -> Path:
    """The folder with the files of a run. Raises UserError for an id that is a path; a server may send one."""
    if not is_file_name(run_id):
        raise UserError(f"run {run_id!r}: is no id of a run")
    return output_dir() / "runs" / run_id
