"""The model card of a run: a README.md in the form of Hugging Face, with an interval for each score."""

import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf, isfinite
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader

from expkit.comparison.bootstrap import Interval, interval
from expkit.comparison.paired import statistics_of
from expkit.config.data_files import files_of, unusable
from expkit.config.trust import typed_value
from expkit.data.inspection import lines
from expkit.terminal.display import number
from expkit.terminal.secrets import redacted
from expkit.tracking.environment import environment
from expkit.tracking.note import Scores, in_markdown
from expkit.tracking.params import leaves

CARD = "README.md"  # in the folder of the model
LEAST_DRAWS, MOST_DRAWS, DRAWN = 200, 1_000, 500_000  # of one example or another, in 0.2 s at most
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def card_of(
    run_id: str,
    config: Mapping[str, Any],
    prepared: Any,
    exported: Any,
    results: Mapping[str, Any],
    table: Scores,
    names: Mapping[str, str],
    command: str,
) -> str:
    """Return the card of a run that has been scored; it holds no secret and no folder of this machine.

    `results` are the `Evaluation` of each split, and `table` is what `score_table` makes of them.
    """
    (header, rows), task, found = table, prepared.task, environment()
    shown = [dict(zip(header, ("" if x == "nan" else x for x in r), strict=True)) for r in rows]
    for name, data in prepared.eval_sets.items():
        known: dict[str, Interval] = {}
        with suppress(Exception):  # of a metric of the user's own: the run has been scored
            known = _intervals(task, results[name].predictions, data)
        for row in (row for row in shown if row[name]):
            if (of := known.get(row["metric"])) and of.low is not None and of.high is not None:
                row[name] += f" ({number(of.low)} to {number(of.high)})"
    page = Environment(loader=PackageLoader("expkit", "tracking")).get_template("card.md")
    flat = {".".join(map(str, keys)): value for keys, value in leaves(config)}
    short = _without_folders(flat)

    def shown_override(typed: str) -> str:  # which may quote the folders in another way
        key, given = typed_value(typed)
        under = {k.removeprefix(f"{key}."): v for k, v in flat.items() if k.startswith(f"{key}.")}
        value = str(under if given.startswith("{") else flat.get(key, ""))
        return short(typed) if short(value) == value else f"{key}={short(value)}"

    texts = ["a [MASK] text" if task.pipeline == "fill-mask" else "a text"] * len(task.columns)
    given = {"config": config, "prepared": prepared, "names": names, "run_id": run_id}
    made = page.render(
        given,
        front=yaml.safe_dump(_front(config, prepared, results, names), allow_unicode=True, width=inf),
        model=type(exported.model).__name__,
        command=shlex.join(map(shown_override, shlex.split(command))),
        example={"text": texts[0], "text_pair": texts[1]} if len(texts) > 1 else texts[0],
        asked=shlex.join(texts), header=header,
        rows=[[in_markdown(cell) for cell in row.values()] for row in shown],
        versions=", ".join(f"{k[8:]} {v}" for k, v in found.items() if k.startswith("version.")),
        found=found,
        limits=[*task.remarks(), *(line.removeprefix("WARNING: ") for line in lines(prepared.report))],
    )  # fmt: skip
    return redacted(short(made))


def _without_folders(flat: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what leaves of the paths of this machine in the configuration, and of the files behind them, the names."""
    values = (v for of in flat.values() for v in (of if isinstance(of, list) else [of]))
    texts = [v for v in values if isinstance(v, str) and Path(v).name and not unusable(Path(v))]
    here = {t: files_of(t) for t in texts if t[0] in "/~" or any(map(Path.exists, files_of(t)))}
    names = {t: Path(t).name for t in here} | {str(f): f.name for of in here.values() for f in of}
    either = re.compile("|".join(map(re.escape, sorted(names, key=len)[::-1])) or "(?!)")
    return lambda text: either.sub(lambda found: names[found[0]], text)


def _intervals(task: Any, predictions: list[Any], data: Any) -> dict[str, Interval]:
    """The middle 95 % of bootstrap draws of the examples; other metrics would be computed anew for each draw."""
    made = [
        statistics_of(task.metrics[name], outcomes)
        for outcomes in task.outcomes(predictions, data.split, data.encoded)
        for name in outcomes.metrics
        if hasattr(task.metrics[name], "statistics")
    ]
    found: dict[str, Interval] = {}
    for n in {len(metric) for metric in made}:  # a sentence without words may be missing at the end
        draws = max(LEAST_DRAWS, min(MOST_DRAWS, DRAWN // n))
        found |= interval([metric for metric in made if len(metric) == n], draws, seed=0)
    return found


def _front(
    config: Mapping[str, Any], prepared: Any, made: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """What sites read: https://huggingface.co/docs/hub/model-cards."""
    languages = [config["task"].get(key) for key in ("language", "source_lang", "target_lang")]
    paths = {"base_model": config["model"].get("path"), "datasets": config["data"].get("path")}
    hub = {k: p for k, p in paths.items() if HUB_NAME.fullmatch(str(p)) and not Path(p).exists()}
    scores: list[dict[str, Any]] = [
        {
            "task": {"type": prepared.task.pipeline},
            "dataset": {"name": data.split.name, "type": data.split.name, "split": s},
            "metrics": [{"type": k, "value": v} for k, v in made[s].metrics.items() if isfinite(v)],
        }
        for s, data in prepared.eval_sets.items()
    ]
    return {
        "library_name": "transformers",
        "pipeline_tag": prepared.task.pipeline,
        "tags": ["expkit", names["task"], *(["lora"] if config["lora"]["target_modules"] else [])],
        **({"language": known} if (known := [code for code in languages if code]) else {}),
        **hub,
        "model-index": [{"name": f"{names['model']} {names['task']}", "results": scores}],
    }
