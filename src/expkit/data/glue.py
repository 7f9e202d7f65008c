"""`data=glue`: a task of the GLUE benchmark, from the hub or from the benchmark's own files.

Either way, the columns and labels have the same names, and the labels the same ids.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from datasets import ClassLabel, Dataset, Features, Value
from datasets.table import InMemoryTable

from expkit.config.constraints import at_least
from expkit.config.fingerprint import digest_of, digest_of_values
from expkit.config.glue import COMPONENT, files_in, tasks
from expkit.data import hub
from expkit.data.csv_files import Dialect, rows_of
from expkit.data.division import Division, Undivided, splits_of
from expkit.data.splits import Split, Splits
from expkit.data.table import Located, Source, table_of
from expkit.data.text_files import lines_of
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, nearest


def load(
    path: str,
    task: Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"],
    max_train_examples: Annotated[int, at_least(1)] | None = None,
    max_eval_examples: Annotated[int, at_least(1)] | None = None,
) -> Splits | Undivided:
    """Read the training and the validation set, and of MNLI the further set `mismatched`.

    Args:
        path: `nyu-mll/glue` for the hub, a folder with the folders of the tasks, or the folder of the task.

    Raises:
        DataError: the hub is out of reach, or a file is not as the benchmark has it.
    """
    limits, on_hub = (max_train_examples, max_eval_examples), dict(tasks()[task]["on_hub"])
    train, validation = on_hub.pop("train"), on_hub.pop("validation")
    if found := files_in({"_target_": COMPONENT, "path": path, "task": task}):
        further = {name: name for name in on_hub}
        read = partial(_read, task, found)
        return splits_of(read, "train", "validation", None, further, limits, Division())
    return hub.load(path, task, None, train, validation, None, on_hub, *limits)


def _read(name: str, found: Mapping[str, Path], split: str, limit: int | None) -> Split:
    task, file, short = tasks()[name], found[split], list[int]()
    label = ClassLabel(names=list(task["labels"])) if task["labels"] else Value("float64")
    columns = Features({**dict.fromkeys(task["columns"], Value("string")), "label": label})
    located = _records(task, found, split, short)
    source = Source(file, "line", located, dict(columns.arrow_schema.metadata))
    table, _ = table_of([file], lambda _: source, limit)
    if short:
        what = f"{len(short)} lines with too few columns, first line {short[0]}"
        say(f"{file}: {what}; they are left out, as on the hub")
    files = {one: digest_of(path) for one, path in found.items()}
    digest = digest_of_values({"task": task, "files": files, "split": split, "limit": limit})
    rows = Dataset(InMemoryTable(table), fingerprint=digest)
    place = f"glue-{name}-{split}", str(file)
    return Split(rows, *place, digest, lambda i: f"{file}, line {source.lines[i]}")


def _records(
    task: Mapping[str, Any], found: Mapping[str, Path], split: str, short: list[int]
) -> Located:
    """The rows of a file as records of the hub; `short` gets the lines that are left out."""
    file, allowed = found[split], list(task["labels"].values())
    listed = lines_of(found["held_out"], None) if "held_out" in found else None
    ids = {line.strip() for line in listed} if listed else None
    rows = rows_of(partial(lines_of, file, None, newline=""), Dialect("\t", "none"))
    names = task.get("header") or next(rows, (0, []))[1]
    for name in (*task["columns"].values(), task["label"]):
        if names and name not in names:
            raise DataError(f"{file}: has no column {name!r}; {nearest(name, names)}")
    for line, cells in rows:
        if len(cells) < len(names) and task.get("damaged"):
            short.append(line)
            continue
        if len(cells) != len(names):
            raise DataError(f"{file}, line {line}: {len(cells)} columns; expected {len(names)}")
        row = dict(zip(names, cells, strict=True))
        pair = f"{row.get('#1 ID')}\t{row.get('#2 ID')}"
        if ids is not None and (pair in ids) != (split == "validation"):
            continue
        written = row[task["label"]]
        try:
            label = allowed.index(written) if allowed else float(written)
        except ValueError:
            expected = nearest(written, allowed) or "expected a number"
            place = f"{file}, line {line}: {task['label']}={written!r:.60}"
            raise DataError(f"{place}: {expected}") from None
        yield line, {**{new: row[old] for new, old in task["columns"].items()}, "label": label}
