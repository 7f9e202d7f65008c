"""The model card of a run: a README.md in the form of Hugging Face, with an interval for each score."""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader

from expkit.comparison.bootstrap import Interval, interval
from expkit.comparison.paired import statistics_of
from expkit.metrics.statistics import Statistics
from expkit.terminal.display import number
from expkit.terminal.secrets import redacted
from expkit.tracking.environment import environment
from expkit.tracking.note import Scores, in_markdown

CARD = "README.md"  # in the folder of the model
DRAWS = 1_000  # fewer of many examples, so that a card takes no more than a moment
LEAST_DRAWS, MOST_DRAWN = 200, 1_000_000
FOLDERS = re.compile(r"(?<![\w:/.])[~/][^\s'\",=]*/")  # that a path of this machine begins with


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

    Args:
        results: the `Evaluation` of each split; of what is no split, there is no interval.
        table: what `score_table` returns.
    """
    task, report, found = prepared.task, prepared.report, environment()
    intervals = {
        name: _intervals(task, result.predictions, prepared.eval_sets[name])
        for name, result in results.items()
        if name in prepared.eval_sets
    }
    limits = [*task.remarks()]
    for name, split in report.items():
        counts = {"stand in train": split.get("in_train"), "stand there twice": split["repeated"]}
        said = [f"{c['count']:,} {what}" for what, c in counts.items() if c and c["count"]]
        if reach := split["tokens"]["at_limit"]:
            said.append(f"{reach:,} reach the limit of {task.max_length} tokens, or are cut there")
        if split["labels"] is not None and said:
            limits.append(f"of the {split['examples']:,} examples in {name}, {', '.join(said)}")
    header, rows = table
    shown = [
        [row[0], *(_with(intervals.get(split, {}).get(row[0]), cell) for split, cell in zip(header[1:], row[1:], strict=True))]
        for row in rows
    ]  # fmt: skip
    page = Environment(loader=PackageLoader("expkit", "tracking")).get_template("card.md")
    made = page.render(
        front=yaml.safe_dump(_front(config, task, results, names), sort_keys=False, allow_unicode=True),
        splits=prepared.splits.named(),
        header=header,
        rows=[[in_markdown(cell) for cell in row] for row in shown],
        versions={k.partition(".")[2]: v for k, v in found.items() if k.startswith("version.")},
        commit=found.get("mlflow.source.git.commit", ""),
        model=type(prepared.training.model).__name__,
        precision=prepared.training.precision,
        auto_class=task.head().auto_class,
        example='[{"text": "...", "text_pair": "..."}]' if len(task.columns) > 1 else '["..."]',
        texts=" ".join(f'"{name} ..."' for name in task.columns),
        run_id=run_id, config=config, names=names, command=command, limits=limits,
    )  # fmt: skip
    return redacted(FOLDERS.sub("", made))


def _intervals(task: Any, predictions: list[Any], data: Any) -> dict[str, Interval]:
    """The middle 95 % of bootstrap draws of the examples, for the scores that are decided by sums over examples."""
    found: dict[str, Interval] = {}
    for outcomes in task.outcomes(predictions, data.split, data.encoded):
        for name in outcomes.metrics:
            made = statistics_of(task.metrics[name], outcomes)
            if isinstance(made, Statistics):  # others would be computed for each draw
                draws = max(LEAST_DRAWS, min(DRAWS, MOST_DRAWN // max(len(made), 1)))
                found |= interval(made, draws, seed=0)
    return found


def _with(bounds: Interval | None, cell: str) -> str:
    known = bounds is not None and bounds.low is not None and bounds.high is not None
    return f"{cell} [{number(bounds.low)}, {number(bounds.high)}]" if known and cell else cell  # type: ignore[union-attr, arg-type]


def _front(
    config: Mapping[str, Any], task: Any, results: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """What sites read: https://huggingface.co/docs/hub/model-cards."""
    said, data = config["task"], config["data"]
    languages = [said[key] for key in ("language", "source_lang", "target_lang") if said.get(key)]
    hub = {"base_model": config["model"].get("path"), "datasets": data.get("path")}
    on_hub = {k: v for k, v in hub.items() if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(v))}
    scores = [
        {
            "task": {"type": task.pipeline},
            "dataset": {"name": names["data"], "type": names["data"], "split": split},
            "metrics": [{"type": k, "value": v} for k, v in result.metrics.items()],
        }
        for split, result in results.items()
    ]
    return {
        **({"language": languages} if languages else {}),
        "library_name": "transformers",
        "pipeline_tag": task.pipeline,
        "tags": ["expkit", names["task"], *(["lora"] if config["lora"]["target_modules"] else [])],
        **on_hub,
        "metrics": list(task.metrics),
        "model-index": [{"name": f"{names['model']} {names['task']}", "results": scores}],
    }
