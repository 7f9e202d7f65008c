"""Where the config groups and the project's outputs lie."""

from pathlib import Path

PROJECT_MARKS = ("outputs", "pyproject.toml", ".git")


def conf_dir() -> Path:
    """The folder with the config groups: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def project_root() -> Path:
    """The nearest folder at or above the working directory that looks like a project."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if any((folder / mark).exists() for mark in PROJECT_MARKS):
            return folder
    return here


def output_dir() -> Path:
    """Runs, caches and the MLflow store of this project."""
    return project_root() / "outputs"
