"""`data=glue`: a task of the GLUE benchmark, from the hub or from the benchmark's own files.

Either way, columns and labels have the same names, and the labels the same ids.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from datasets import ClassLabel, Features, Value

from expkit.config import glue
from expkit.config.constraints import at_least
from expkit.data import csv_files, files, hub
from expkit.data.division import Division, Undivided, splits_of
from expkit.data.splits import Split, Splits
from expkit.data.table import Located, Source
from expkit.data.text_files import lines_of
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, nearest


def load(
    path: str,
    task: Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"],
    max_train_examples: Annotated[int, at_least(1)] | None = None,
    max_eval_examples: Annotated[int, at_least(1)] | None = None,
) -> Splits | Undivided:
    """Read the training set and the validation set, and of MNLI a further set, `mismatched`.

    Args:
        path: `nyu-mll/glue` for the hub, a folder with the folders of the tasks, or that of the task.

    Raises:
        DataError: the hub is out of reach, or a file is not the one of the benchmark.
    """
    limits = max_train_examples, max_eval_examples
    evaluated = glue.tasks()[task].sets
    if found := glue.files_in({"_target_": glue.COMPONENT, "path": path, "task": task}):
        further = {name: name for name in evaluated if name != "validation"}
        read = partial(_read, task, found)
        return splits_of(read, "train", "validation", None, further, limits, Division())
    on_hub = {name: f"validation{end}" for name, end in evaluated.items()}
    return hub.load(path, task, None, "train", on_hub.pop("validation"), None, on_hub, *limits)


def _read(task: str, found: Mapping[str, Path], split: str, limit: int | None) -> Split:
    about, broken = glue.tasks()[task], list[int]()
    held_out = [row[:2] for _, row in _rows(found["ids"])] if "ids" in found else None
    label = ClassLabel(names=list(about.labels)) if about.labels else Value("float64")
    columns = Features({**dict.fromkeys(about.columns, Value("string")), "label": label})

    def opened(file: Path) -> Source:
        located = _records(file, about, broken, held_out, split)
        return Source(file, "line", located, dict(columns.arrow_schema.metadata))

    # What decides the records beside the file; two splits of MRPC may be parts of the same one.
    reading = {"glue": task, "split": split, "about": asdict(about), "held_out": held_out}
    made = files.read(found[split], limit, files.Reading(csv=reading), opened)
    if broken:
        many = f"{len(broken)} lines with too few columns are left out, as on the hub"
        say(f"{found[split]}: {many}; the first is line {broken[0]}")
    return made


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    lines = partial(lines_of, file, None, newline="")
    return csv_files.rows(lines, csv_files.Dialect("\t", "none"))


def _records(
    file: Path,
    about: glue.GlueTask,
    broken: list[int],
    held_out: list[list[str]] | None,
    split: str,
) -> Located:
    """The rows as records of the hub. Lines of QQP with too few columns are left out and noted in `broken`."""
    rows = _rows(file)
    names = list(about.header) or next(rows, (0, []))[1]
    for name in (*about.columns.values(), about.label):
        if names and name not in names:
            raise DataError(
                f"{file}: has no column {name!r} of {about.title}; {nearest(name, names)}"
            )
    for line, row in rows:
        if len(row) < len(names) and about.title == "QQP":
            broken.append(line)
            continue
        if len(row) != len(names):
            raise DataError(f"{file}, line {line}: expected {len(names)} columns, got {len(row)}")
        cells = dict(zip(names, row, strict=True))
        if held_out is None or (
            ([cells["#1 ID"], cells["#2 ID"]] in held_out) == (split == "validation")
        ):
            texts = {column: cells[name] for column, name in about.columns.items()}
            place = f"{file}, line {line}: {about.label}"
            yield line, {**texts, "label": _label(cells[about.label], about, place)}


def _label(written: str, about: glue.GlueTask, place: str) -> float:
    """The id of a label, or a number where the task has no labels."""
    allowed = list(about.labels.values())
    try:
        return allowed.index(written) if allowed else float(written)
    except ValueError:
        expected = nearest(written, allowed) or "expected a number"
        raise DataError(f"{place}={written!r:.60}: {expected}") from None
