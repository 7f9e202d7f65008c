"""Checks of values against each other, and against the files that they name."""

import importlib.util
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from encodings.aliases import aliases
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from expkit.config import glue, set_names
from expkit.config.data_files import problems_of, unusable
from expkit.config.direction import known_scores, owner_of
from expkit.config.project import is_file_name
from expkit.terminal.errors import UserError, nearest, shortened

TRACKING_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
LONGEST = {"tracking.experiment": 500, "run_name": 250}  # characters that MLflow's tables take
RUN_ID = re.compile(r"[0-9a-f]{6,32}")  # or its first characters
# A name and perhaps an alias, by the rules of MLflow, which would state them only after training.
REGISTERED = re.compile(
    r"(?!\.\.|\.(@|$))(?=\s*[^\s@])[^/:@]{1,256}(@(?!(latest|v\d+)$)[\w-]{1,255})?", re.I
)
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def problems(plain: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit together in a configuration whose keys and types are right."""
    if wrong := list(_metrics(plain["task"])):
        yield from wrong
    else:
        yield from _objective(plain)
        yield from _scores(plain)
    yield from set_names.problems(plain["data"])
    yield from _labels(plain["task"])
    yield from _files(plain["data"])
    yield from _division(plain["data"])
    if plain["model"]["_target_"] == "expkit.models.checkpoint.Checkpoint":
        yield from _model_path(str(plain["model"]["path"]))
    if plain["lora"]["target_modules"] == []:
        yield "lora.target_modules=[]: names no module; null trains all weights"
    if plain["optimizer"].get("nesterov") and not plain["optimizer"].get("momentum"):
        yield "optimizer.nesterov=true: Nesterov's method needs optimizer.momentum above 0"
    yield from _heads(plain["model"])
    yield from _tracking(plain["tracking"]["uri"])
    yield from _names(plain["tracking"]["experiment"], plain["run_name"])
    yield from _register(plain["tracking"])
    resume = plain["resume"]
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
    objective, task = plain["objective"], plain["task"]
    group, _, score = objective.partition("/")
    further = set_names.further_sets(plain["data"])
    if group == "test" and score:
        yield (
            f"objective={objective!r}: the objective decides which weights are kept, and a score that has been "
            f"decided by is no estimate for new data any more; take eval/{score} of the validation split, "
            "or a further set (data.eval_files)"
        )
    elif group not in ("eval", *further) or not score:
        allowed = [f"{name}/loss" for name in ("eval", *further)]
        yield (
            f"objective={objective!r}: must be a metric of the validation split or of a set in data.eval_files, "
            f"such as {' or '.join(allowed)}"
        )
    elif "metrics" in task and score != "loss" and owner_of(task, score) is None:
        allowed = [f"{group}/{name}" for name in ("loss", *(n for n, _ in known_scores(task)))]
        yield f"objective={objective!r}: no such metric; {nearest(objective, allowed)}"


def _scores(plain: Mapping[str, Any]) -> Iterator[str]:
    task = plain["task"]
    known = [name for name, _ in known_scores(task)]
    for name, times in Counter(("loss", *known)).items():
        if times > 1:
            yield f"task.metrics: {name!r} is the name of several scores; choose another one"
    score = task.get("tune_for")
    if (
        isinstance(score, str)
        and score not in ("", plain["objective"])
        and not owner_of(task, score)
    ):
        yield f"task.tune_for={score!r}: no such score; {nearest(score, known)}"


def _files(data: Mapping[str, Any]) -> Iterator[str]:
    for file in glue.files_in(data).values():
        for name, why in problems_of(str(file)):
            yield (
                f"data.path={data['path']!r}: {name}: {why}; expected the folder of GLUE's download, the folder "
                f"{glue.tasks()[data['task']]['title']} in it, or {glue.HUB} for the hub"
            )
            return
    if data["_target_"] != "expkit.data.files.load":
        return
    if (conll := data.get("conll")) is not None:
        yield from _conll(conll)
    if (csv := data.get("csv")) is not None:
        yield from _csv(csv)
    if (encoding := data.get("encoding")) is not None and not _is_encoding(encoding):
        usual = sorted(filter(_is_encoding, {"utf_8", *aliases.values()}))
        yield f"data.encoding={encoding!r}: no encoding of text; {nearest(encoding, usual)}"
    given = {key: data.get(key) for key in ("train_file", "validation_file", "test_file")}
    further = data.get("eval_files") or {}
    given |= {f"eval_files.{name}": files for name, files in further.items()}
    for key, files in given.items():
        for name, why in problems_of(files) if files is not None else ():
            yield f"data.{key}={name!r}: {why}"


def _is_encoding(name: str) -> bool:
    """Whether Python reads text in an encoding of this name."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def _csv(csv: Mapping[str, Any]) -> Iterator[str]:
    delimiter, quoting = csv.get("delimiter"), csv.get("quoting")
    known = delimiter in (None, "tab") or re.fullmatch(r'[^"\r\n\0]', str(delimiter))
    if csv.keys() - {"delimiter", "quoting"} or not known:
        yield (
            f"data.csv={csv}: expected delimiter=null, one character such as ';', or tab; "
            "and quoting=null, minimal or none"
        )
    elif quoting not in (None, "minimal", "none"):
        yield f"data.csv.quoting={quoting!r}: {nearest(quoting, ('null', 'minimal', 'none'))}"


def _division(data: Mapping[str, Any]) -> Iterator[str]:
    """Out of what the validation split comes: a file or split of its own, a share, a column, or folds."""
    own, test = (
        f"{split}_{'file' if 'train_file' in data else 'split'}" for split in ("validation", "test")
    )
    if own not in data or "folds" not in data:
        return  # a data component of the user's own
    said = {key: value for key, value in data.items() if value is not None}
    given = [
        f"data.{key}={said[key]}"
        for key in (own, "validation_share", "split_column", "folds")
        if key in said
    ]
    if not given:
        yield (
            f"data.{own}: a value is required, none was given; or say how to divide the training examples: "
            "data.validation_share=0.1, data.folds=5 or data.split_column=..."
        )
    elif len(given) > 1:
        yield f"{' and '.join(given)}: each says what the validation split is; give one of them, and null for others"
    if "test_share" in said and test in said:
        yield f"data.test_share={said['test_share']}: data.{test} gives the test split already; set one of them to null"
    for key in ("test_share", "group_column"):
        if key in said and not said.keys().isdisjoint((own, "split_column")):
            yield f"data.{key}={said[key]}: is for data.validation_share or data.folds only"
    shares = said.get("validation_share", 0), said.get("test_share", 0)
    if sum(shares) >= 1:
        yield f"data.validation_share={shares[0]} and data.test_share={shares[1]}: leave nothing to train on"
    if "fold" in said and said["fold"] > said.get("folds", 0):
        yield f"data.fold={said['fold']}: expected null, or one of the folds that data.folds={said.get('folds')} makes"


def _conll(conll: Mapping[str, Any]) -> Iterator[str]:
    columns = conll.get("columns")
    names = columns if isinstance(columns, list) else []
    once = names.count("word") == names.count("tag") == 1 and names.count("id") < 2
    if conll.keys() != {"columns"} or (columns is not None and not once):
        yield (
            f"data.conll={conll}: expected columns=null, or a name for each column in order: one of them "
            "word, one tag, and id where words are numbered; _ or another one is not read"
        )


def _labels(task: Mapping[str, Any]) -> Iterator[str]:
    given = {} if not task["_target_"].startswith("expkit.tasks.") else task
    for key in ("labels", "label_columns"):
        names = given.get(key)
        name, count = Counter(names or [""]).most_common(1)[0]
        if names is not None and (count > 1 or len(names) < 2 or not all(map(str.strip, names))):
            first = f"; {name!r} is there {count} times" if count > 1 else ""
            yield f"task.{key}={names!r}: expected at least two names, each of them once and none blank{first}"
    if "label_columns" in given and given["label_columns"] is given["label_column"] is None:
        yield "task.label_column=null: name the column of the labels, or one for each in task.label_columns"
    for key in ("label_column", "label_separator", "labels") if given.get("label_columns") else ():
        if given[key] is not None:
            yield f"task.{key}={given[key]}: task.label_columns says which labels there are; set the former to null"


def _model_path(path: str) -> Iterator[str]:
    path, _, _ = path.partition("#")
    if path.startswith("pkg://"):
        try:
            package_folder(path)
        except UserError as error:
            yield str(error)
        return
    if why := unusable(Path(path)):
        yield f"model.path={path!r}: {why}"
        return
    folder = Path(path).expanduser()
    if folder.is_dir():
        yield from _checkpoint_folder(folder)
    elif folder.exists():
        yield f"model.path={path!r}: is a file; expected the folder of a checkpoint"
    elif path.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(path):
        beside = [str(p) for p in folder.parent.glob("*") if p.is_dir()]
        yield f"model.path={path!r}: no such folder; {nearest(path, sorted(beside))}".rstrip("; ")


def package_folder(path: str) -> Path:
    """The folder that `pkg://module/folder` names. Raises UserError if there is none."""
    module, *folders = path.removeprefix("pkg://").split("/")
    if not module.isidentifier() or ".." in folders:  # looking up a.b would import a
        raise UserError(f"model.path={path!r}: expected pkg://module/folder")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        package = module.replace("_", "-")
        raise UserError(
            f"model.path={path!r}: no module {module!r} is installed; try: pip install {package}"
        )
    top = Path(spec.submodule_search_locations[0])
    if not (folder := top.joinpath(*folders)).is_dir():
        names = sorted(inner.name for inner in top.iterdir() if inner.is_dir())
        raise UserError(f"model.path={path!r}: no such folder; {nearest('/'.join(folders), names)}")
    return folder


def _checkpoint_folder(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield f"model.path={str(folder)!r}: has no config.json, so it is no checkpoint"
    elif not list(folder.glob("*.safetensors")):
        yield (
            f"model.path={str(folder)!r}: has no weights (*.safetensors); pickled weights (*.bin, *.pt) can "
            "run code when loaded, so convert them first: save_pretrained writes safetensors"
        )


def _heads(model: Mapping[str, Any]) -> Iterator[str]:
    hidden, heads = model.get("hidden_size"), model.get("heads")
    if isinstance(hidden, int) and isinstance(heads, int) and hidden % heads:
        yield f"model.heads={heads}: must divide model.hidden_size={hidden}"


def _tracking(uri: str | None) -> Iterator[str]:
    key, given = given_address(uri)
    if given is not None and (why := wrong_address(given)):
        yield f"{key}={given!r}: {why}"


def _names(experiment: str, run: str | None) -> Iterator[str]:
    if not experiment.strip():
        yield f"tracking.experiment={experiment!r}: is empty; expected a name, such as expkit"
    for (key, limit), name in zip(LONGEST.items(), (experiment, run or ""), strict=True):
        if len(name) > limit:
            shown = shortened(name, 100)
            yield f"{key}={shown!r}: has {len(name):,} characters; at most {limit} are allowed"


def _register(tracking: Mapping[str, Any]) -> Iterator[str]:
    asked = tracking.get("register")
    if asked is not None and not tracking["log_model"]:
        yield f"tracking.register={asked}: tracking.log_model=false leaves no model to register; set it to true"
    if asked is not None and not REGISTERED.fullmatch(asked):
        yield (
            f"tracking.register={asked!r:.600}: expected a name without / and :, and perhaps an alias of letters, "
            "digits, _ and -, such as mrpc@champion; MLflow keeps the aliases latest, v1, v2, ... for itself"
        )


def given_address(uri: str | None) -> tuple[str, str | None]:
    """The key under which the address of the store was given, and the address if there is one."""
    variable = os.environ.get("MLFLOW_TRACKING_URI") or None
    return ("tracking.uri", uri) if uri is not None else ("MLFLOW_TRACKING_URI", variable)


def wrong_address(uri: str) -> str | None:
    """Why nothing can be kept at an address, as far as that is plain without SQLAlchemy."""
    scheme, found, rest = uri.partition("://")
    kind = scheme.partition("+")[0]
    allowed = (*TRACKING_SCHEMES, *entry_points(group="mlflow.tracking_store").names)
    if kind not in allowed or not found or uri != uri.strip():
        return (
            "expected an address such as sqlite:///outputs/mlflow.db or http://host:5000; "
            f"{nearest(kind, allowed)}"
        )
    if kind == "sqlite" and rest.partition("?")[0] in ("", "/", "/:memory:"):
        return "would be lost with the process; name a file, such as sqlite:///outputs/mlflow.db"
    return None
