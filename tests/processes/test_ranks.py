"""Descriptions of processes that a shell has left over are one message, before anything is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import free_port
from expkit.processes import ranks

WHOLE = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ranks.NUMBERS, *ranks.NEEDED, *ranks.BY_MPI):
        monkeypatch.delenv(name, raising=False)


def described(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return ranks.misdescribed() or ""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "no LOCAL_RANK and MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "0"}, "no WORLD_SIZE"),
        ({"WORLD_SIZE": "4"}, "no RANK"),
        ({"LOCAL_RANK": "0"}, "no RANK"),
        ({"RANK": "0", "WORLD_SIZE": ""}, "WORLD_SIZE must be"),
        ({**WHOLE, "RANK": "two"}, "RANK must be"),
        ({**WHOLE, "RANK": "-1"}, "RANK must be"),
        ({**WHOLE, "RANK": "2"}, "RANK=2 WORLD_SIZE=2"),
        ({**WHOLE, "WORLD_SIZE": "0"}, "less than WORLD_SIZE"),
        ({**WHOLE, "LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE must be"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE=2, but no RANK"),
        ({"PMI_SIZE": "4", "MV2_COMM_WORLD_SIZE": "4"}, "unset PMI_SIZE MV2_COMM_WORLD_SIZE;"),
    ],
)
def test_what_is_left_over_is_said(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = described(monkeypatch, **variables)
    assert message in why
    unset = why.partition("run: unset ")[2].partition(";")[0].split()
    assert set(variables) & set(unset), "the message names the variables that are set"


def test_a_whole_description_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert described(monkeypatch, **WHOLE) == ""
    assert (ranks.count(), ranks.rank(), ranks.local_rank()) == (2, 1, 1)


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
        {"MASTER_ADDR": "node7", "MASTER_PORT": "1234"},
        {"PMI_SIZE": "1"},
    ],
)
def test_one_process_alone_is_harmless(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert described(monkeypatch, **variables) == ""
    assert (ranks.count(), ranks.is_main()) == (1, True)
    assert described(monkeypatch) == ""


@pytest.mark.parametrize("variables", [{"RANK": "1", "WORLD_SIZE": "2"}, {"RANK": ""}])
@pytest.mark.parametrize("module", ["expkit", "expkit.reproduce"])
def test_the_command_says_it_once(
    variables: dict[str, str], module: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments = ["0123abcd"] if module == "expkit.reproduce" else []
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{module}: RANK=")


def test_nobody_comes_to_the_meeting(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from datetime import timedelta

    from expkit.processes import group as processes
    from expkit.terminal.errors import UserError

    for name, value in {**WHOLE, "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "MEET_WITHIN", timedelta(seconds=2))
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(UserError, match="the other processes did not join"), processes.joined():
            pass
        assert not processes.console.quiet
    assert "RANK=1" in capsys.readouterr().err, "a process that is not the main one says it too"
