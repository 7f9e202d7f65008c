"""Components of the user's own, as docs/own-components.md shows them."""

import re
import shlex
from pathlib import Path

import pytest

from conftest import CHECKOUT, TINY, Command

pytestmark = pytest.mark.slow

HOW_TO = CHECKOUT / "docs" / "own-components.md"


@pytest.fixture
def my_pkg(project: Path) -> Path:
    """The how-to's own code, written where the command finds it."""
    for name, code in re.findall(
        r"```(?:python|yaml)\n# (\S+)\n(.*?)```", HOW_TO.read_text(), re.DOTALL
    ):
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return project / "my_pkg"


def commands() -> list[list[str]]:
    """The arguments of each `python -m expkit` in the how-to."""
    text = HOW_TO.read_text().replace("\\\n", " ")
    lines = re.findall(r"^python -m expkit .*$", text, re.MULTILINE)
    return [shlex.split(line)[3:] for line in lines]


def test_the_how_to_shows_all_of_them() -> None:
    targets = {
        a.partition("._target_=")[0] for command in commands() for a in command if "_target_=" in a
    }
    assert targets == {"optimizer", "task", "+task.metrics.distance", "model", "backend"}


@pytest.mark.parametrize("arguments", commands(), ids=lambda a: a[0])
def test_commands_of_the_how_to_run(arguments: list[str], my_pkg: Path, expkit: Command) -> None:
    flags = [a for a in arguments if a.startswith("--")]
    done = expkit(*flags, *TINY, *(a for a in arguments if a not in flags))
    assert done.returncode == 0, done.stderr
    assert "majority baseline" in done.stdout


def test_a_task_whose_source_has_changed_is_run_again(my_pkg: Path, expkit: Command) -> None:
    options = (*TINY, "train.max_steps=1", "tracking.log_model=false", "resume=auto")
    command = ("task._target_=my_pkg.tasks.Smoothed", "+task.smoothing=0.1", *options)
    assert "finished before" not in expkit(*command).stdout
    assert "finished before" in expkit(*command).stdout
    with (my_pkg / "tasks.py").open("a") as file:
        file.write("\nSmoothed.__doc__ = 'Another one.'\n")
    again = expkit(*command)
    assert again.returncode == 0, again.stderr
    assert "finished before" not in again.stdout
