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

    small = (*SMALL_TASKS["text_classification"], "train.max_steps=2")
    expkit("-m", *small, "seed=1,2")
    expkit(*small, "seed=3", "precision=auto")
    finished = [run.info.run_id for run in runs_of(project) if run.info.status == "FINISHED"]
    assert len(finished) == 4  # with that of the sweep
    texts = ("--text", "One.", "Two.")
    assert "label" in expkit("predict", runs_of(project)[0].info.run_id, *texts)
