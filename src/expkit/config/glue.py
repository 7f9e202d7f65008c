"""The tasks of the GLUE benchmark (Wang et al., 2019, https://gluebenchmark.com), which glue.yaml describes."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

COMPONENT = "expkit.data.glue.load"
HUB = "nyu-mll/glue"  # as data.path, the data set on the hub; all else is a folder


@cache
def tasks() -> dict[str, dict[str, Any]]:
    """What there is to know of each task, by its name on the hub, in the order of the leaderboard."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["tasks"])


def task_in(data: Mapping[str, Any]) -> str:
    """The name of the task that a group `data` names; empty if the data are not those of GLUE."""
    return str(data["task"]) if data.get("_target_") == COMPONENT else ""


def files_in(data: Mapping[str, Any]) -> dict[str, Path]:
    """The files of the task that a group `data` names; none if the data are on the hub, or not those of GLUE.

    They are in the task's folder in `data.path`, or in `data.path` itself if it has no such folder.
    """
    if not (name := task_in(data)) or data["path"] == HUB:
        return {}
    task, top = tasks()[name], Path(data["path"]).expanduser()
    folder = top / task["title"] if (top / task["title"]).is_dir() else top
    for files in (task["files"], task.get("older", {})):
        found = {split: folder / file for split, file in files.items()}
        if found and found["train"].exists():
            return found
    return {split: folder / file for split, file in task["files"].items()}
