"""The tasks of the GLUE benchmark (Wang et al., 2019, https://gluebenchmark.com), their files and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

COMPONENT = "expkit.data.glue.load"
HUB = "nyu-mll/glue"  # as data.path, the data set on the hub; all else is a folder
OLDER, IDS = "msr_paraphrase_train.txt", "dev_ids.tsv"  # how MRPC came before it was divided


@dataclass(frozen=True)
class GlueTask:
    """One of the tasks; glue.yaml says what each attribute is."""

    title: str
    columns: Mapping[str, str]
    label: str
    labels: Mapping[str, str]
    scores: Mapping[str, str]
    header: Sequence[str] = ()
    sets: Mapping[str, str] = field(default_factory=lambda: {"validation": ""})


@cache
def tasks() -> dict[str, GlueTask]:
    """All tasks by their names on the hub, in the order of the leaderboard."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return {name: GlueTask(**said) for name, said in yaml.safe_load(text).items()}


def task_in(data: Mapping[str, Any]) -> str:
    """The name of the task that a group `data` names; empty if the data are not those of GLUE."""
    return str(data["task"]) if data.get("_target_") == COMPONENT else ""


def is_on_hub(data: Mapping[str, Any]) -> bool:
    """Whether a group `data` names a task of GLUE on the hub."""
    return bool(task_in(data)) and data["path"] == HUB


def files_in(data: Mapping[str, Any]) -> dict[str, Path]:
    """The file of each split; there are none if the data come from the hub, or are not those of GLUE.

    A task that has no folder of its own in `data.path` takes that folder itself. Without train.tsv, the splits of
    MRPC are two parts of an older file, and a third one, `ids`, says which.
    """
    if not (name := task_in(data)) or is_on_hub(data):
        return {}
    task, top = tasks()[name], Path(data["path"]).expanduser()
    folder = top / task.title if (top / task.title).is_dir() else top
    if name == "mrpc" and (folder / OLDER).exists() and not (folder / "train.tsv").exists():
        return {"train": folder / OLDER, "validation": folder / OLDER, "ids": folder / IDS}
    evaluated = {split: folder / f"dev{end}.tsv" for split, end in task.sets.items()}
    return {"train": folder / "train.tsv", **evaluated}
