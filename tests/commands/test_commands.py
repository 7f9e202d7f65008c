"""The commands beside a run: how they are found, and that they end with one message."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CHECKOUT, Command
from expkit.commands import compare, main, summaries, sync
from expkit.processes.exits import BAD_INPUT, FAILED, INTERRUPTED
from expkit.terminal.errors import UserError


def test_an_error_of_the_user_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuses(options: argparse.Namespace) -> bool:
        raise UserError("http://me:secret@host/: is away\ntry later")

    monkeypatch.setattr(sync, "run", refuses)
    with pytest.raises(SystemExit) as ended:
        main("sync", [])
    assert ended.value.code == FAILED
    assert capfd.readouterr().err == "expkit.sync: http://***@host/: is away\n  try later\n"


def test_ctrl_c_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        main("compare", [])
    assert ended.value.code == INTERRUPTED
    assert capfd.readouterr().err == "expkit.compare: interrupted\n"


def test_help_is_a_menu_of_right_examples_and_lists_the_groups(project: Path) -> None:
    script = Path(sys.executable).with_name("expkit")
    done = subprocess.run([script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs, named = set(), set()
    for example in re.findall(r"^ +expkit(?: (\S.*?))?(?:  +.*)?$", done.stdout, re.M):
        word, *given = shlex.split(example) or [""]
        if word in summaries():
            importlib.import_module(f"expkit.commands.{word}").parser().parse_args(given)
            named.add(word)
        else:
            runs.add(example)
    assert named == set(summaries()), "MENU in commands/__init__.py has an example of each command"
    readme = (CHECKOUT / "README.md").read_text()  # whose commands test_docs.py composes
    assert runs <= set(re.findall(r"^python -m expkit *(.*?) *#", readme, re.M))
    assert {"", "dry_run=true"} < runs
    for summary in summaries().values():
        assert f"  {summary}\n" in done.stdout
    assert "optimizer: adam, adamw, sgd" in done.stdout  # Hydra's part


@pytest.mark.parametrize("name", summaries())
def test_a_command_is_a_first_word_and_a_module(name: str, project: Path) -> None:
    script = Path(sys.executable).with_name("expkit")
    for command in (
        [script, name],
        [sys.executable, "-m", f"expkit.{name}"],
        [sys.executable, "-m", "expkit", name],
    ):
        done = subprocess.run([*command, "--no-such-option"], capture_output=True, text=True)
        assert done.returncode == BAD_INPUT
        assert done.stderr.startswith(f"usage: expkit {name} "), done.stderr


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "comparee",
            "comparee: neither a command (allowed: compare, completion, doctor, evaluate, init, inspect, predict, report, reproduce, rescore, schema, sync, ui; did you mean 'compare'?) nor an override",
        ),
        ("seed:1", "seed:1: not an override; write key=value"),
    ],
)
def test_a_word_that_is_nothing_is_one_message(
    typed: str, message: str, expkit: Command, project: Path
) -> None:
    done = expkit(typed)
    assert done.returncode == BAD_INPUT
    assert done.stderr.startswith(f"expkit: {message}")


def test_the_flag_of_a_sweep_may_follow_overrides(expkit: Command, project: Path) -> None:
    done = expkit("seed=1", "-m", "optimizer=adamw,sgd", "train.epochs=0,1")
    assert "train.epochs=0: must be at least 1" in done.stderr  # and nothing of argparse


def test_the_script_finds_components_in_the_folder_as_python_does(project: Path) -> None:
    (project / "mine.py").write_text("class Own:\n    def __init__(self, params, lr: float): ...\n")
    script = Path(sys.executable).with_name("expkit")
    done = subprocess.run(
        [script, "optimizer._target_=mine.Own"], cwd=project, capture_output=True, text=True
    )
    assert "mine.Own takes no such argument; allowed: lr" in done.stderr
