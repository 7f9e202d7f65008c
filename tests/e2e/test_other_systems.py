"""A run, a sweep and predictions where Python lacks what macOS lacks, or what is not safe there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SMALL_TASKS, SURROUNDINGS, runs_of

# Python runs this first, in the processes that expkit starts too. psutil, which reads /proc by `open`, has other
# ways on macOS. `fork` exists there, but not safely: system libraries fail after it.
LACKS = """
import enum, os, pathlib, signal
del signal.SIGUSR2, os.sched_getaffinity, os.sched_setaffinity, os.fork, os.forkpty
signal.Signals = enum.IntEnum("Signals", {s.name: s for s in signal.Signals if s.name != "SIGUSR2"})
def without_proc(name):
    there = getattr(pathlib.Path, name)
    def here(self, *arguments, **options):
        if str(self).startswith("/proc/"):
            if name == "exists":
                return False
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return there(self, *arguments, **options)
    setattr(pathlib.Path, name, here)
for name in ("open", "readlink", "exists", "iterdir"):
    without_proc(name)
"""


@pytest.mark.slow
def test_nothing_is_used_that_other_systems_lack(project: Path) -> None:
    (project / "lacks").mkdir()
    (project / "lacks" / "sitecustomize.py").write_text(LACKS)

    def expkit(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "expkit", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | SURROUNDINGS | {"PYTHONPATH": str(project / "lacks")},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    small = (*SMALL_TASKS["text_classification"], "train.max_steps=2", "precision=auto")
    expkit("-m", *small, "seed=1,2")
    runs = runs_of(project)
    assert [run.info.status for run in runs] == ["FINISHED"] * 3  # with that of the sweep
    assert "label" in expkit("predict", runs[0].info.run_id, "--text", "One.", "Two.")
    assert "/mlflow.db, 3 runs |" in expkit("doctor")
