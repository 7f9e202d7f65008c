"""The model card of a run: a README.md in the form of Hugging Face, with an interval for each score."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader

from expkit.comparison.bootstrap import Interval, interval
from expkit.comparison.paired import statistics_of
from expkit.data.inspection import lines
from expkit.terminal.display import number
from expkit.terminal.secrets import redacted
from expkit.tracking.environment import environment
from expkit.tracking.note import Scores, in_markdown

CARD = "README.md"  # in the folder of the model
LEAST_DRAWS, MOST_DRAWS, DRAWN = (
    200,
    1_000,
    500_000,
)  # of one example or another, to take 0.2 s at most
FOLDERS = re.compile(r"(?<![\w:/.])[~/][^\s'\",=]*/")  # that a path of this machine begins with
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def card_of(
    run_id: str,
    config: Mapping[str, Any],
    prepared: Any,
    results: Mapping[str, Any],
    table: Scores,
    names: Mapping[str, str],
    command: str,
) -> str:
    """Return the card of a run that has been scored; it holds no secret and no folder of this machine.

    `results` are the `Evaluation` of each split, and `table` is what `score_table` makes of them.
    """
    (header, rows), task, found = table, prepared.task, environment()
    shown = [dict(zip(header, row, strict=True)) for row in rows]
    for name, data in prepared.eval_sets.items():
        known: dict[str, Interval] = {}
        with suppress(
            Exception
        ):  # of a metric of the user's own: a card must not cost a run that has been scored
            known = _intervals(task, results[name].predictions, data)
        for row in shown:
            if (of := known.get(row["metric"])) and of.low is not None and of.high is not None:
                row[name] += f" ({number(of.low)} to {number(of.high)})"
    page = Environment(loader=PackageLoader("expkit", "tracking")).get_template("card.md")
    is_pair = len(task.columns) > 1
    given = {"config": config, "prepared": prepared, "names": names, "run_id": run_id}
    made = page.render(
        given,
        front=yaml.safe_dump(_front(config, task, results, names), allow_unicode=True),
        command=command,
        example=[{"text": "...", "text_pair": "..."}] if is_pair else ["..."],
        header=header,
        rows=[[in_markdown(cell) for cell in row.values()] for row in shown],
        versions=", ".join(f"{k[8:]} {v}" for k, v in found.items() if k.startswith("version.")),
        found=found,
        limits=[*task.remarks(), *(line.removeprefix("WARNING: ") for line in lines(prepared.report))],
    )  # fmt: skip
    return redacted(FOLDERS.sub("", made))


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
    config: Mapping[str, Any], task: Any, results: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """What sites read: https://huggingface.co/docs/hub/model-cards."""
    languages = [config["task"].get(key) for key in ("language", "source_lang", "target_lang")]
    paths = {"base_model": config["model"].get("path"), "datasets": config["data"].get("path")}
    hub = {k: p for k, p in paths.items() if HUB_NAME.fullmatch(str(p)) and not Path(p).exists()}
    scores: list[dict[str, Any]] = [
        {
            "task": {"type": task.pipeline},
            "dataset": {"name": names["data"], "type": names["data"], "split": split},
            "metrics": [{"type": k, "value": v} for k, v in result.metrics.items()],
        }
        for split, result in results.items()
    ]
    return {
        "library_name": "transformers",
        "pipeline_tag": task.pipeline,
        "tags": ["expkit", names["task"], *(["lora"] if config["lora"]["target_modules"] else [])],
        **({"language": known} if (known := [code for code in languages if code]) else {}),
        **hub,
        "model-index": [{"name": f"{names['model']} {names['task']}", "results": scores}],
    }
