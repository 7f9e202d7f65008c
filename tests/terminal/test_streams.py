"""Output that nobody takes: whoever writes goes on, and the exit code is its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, only_run

WRITERS = """
import logging, sys, warnings
from expkit.terminal.streams import failed, outlive_readers
outlive_readers()
import mlflow
from expkit.terminal.display import Progress, say, table, tell
logging.basicConfig(stream=sys.stdout)
for _ in range(3):
    print("printed", flush=True)
    say("said"); tell("told"); table("title", ["a"], [["b"]])
    logging.warning("logged")
    warnings.warn("warned")
    sys.stderr.write("an error")
    sys.stderr.flush()
    with Progress(1) as progress:
        progress.show(loss=1.0, rate=1.0)
        progress.advance(1)
open("database", "w").write("x")
assert open("database").read() == "x"
sys.stdout.flush()
open("is_read", "w").write(str(1 not in failed))
raise SystemExit(7)
"""


@pytest.mark.parametrize(
    ("redirection", "is_read"),
    [
        ("| true", False),
        ("2>&1 | true", False),
        (">&-", True),
        ("<&- >&- 2>&-", True),
        (">/dev/full", False),
        (">/dev/full 2>&1", False),
        (">all", True),
    ],
)
def test_every_way_to_write(redirection: str, is_read: bool, project: Path) -> None:
    (project / "write.py").write_text(WRITERS)
    done = subprocess.run(
        ["bash", "-c", f"({sys.executable} write.py; echo $? >code) {redirection}"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (project / "code").read_text() == "7\n", done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert (project / "is_read").read_text() == str(is_read)
    assert done.stderr.count("output is lost: No space left on device") == (
        redirection == ">/dev/full"
    )
    if redirection == ">all":
        assert (project / "all").read_text().count("said") == 3


@pytest.mark.parametrize("option", ["-B", "-u"])
def test_a_reader_that_is_slow_gets_all_of_it(option: str, project: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    write = "from expkit.terminal.streams import outlive_readers as o; o(); print('x' * 2**20)"
    process = subprocess.Popen([sys.executable, option, "-c", write], stdout=writer)
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert len(lines.read()) == 2**20 + 1
    assert process.wait() == 0


def test_a_run_comes_to_its_end_without_a_reader(project: Path) -> None:
    options = " ".join((*TINY, "train.max_steps=4", "tracking.log_model=false"))
    done = subprocess.run(
        ["bash", "-c", f"({sys.executable} -m expkit {options}; echo $? >code) | head -1"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (project / "code").read_text() == "0\n", done.stderr
    assert done.stdout.startswith("run ")
    assert not done.stderr
    assert only_run(project).info.status == "FINISHED"
