"""Look at the data that a run would take, and find what is probably a mistake in them."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from expkit.config.composition import composed
from expkit.config.project import output_dir, require_outputs

FILE = "data/report.json"  # below the folder of outputs, and among the artifacts of a run


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="as for a run, such as data=files"
    )
    return parser


def run(options: argparse.Namespace) -> bool:
    """Print a table and the findings, and write the report to a file."""
    cfg = composed(options.overrides)
    require_outputs()
    from expkit.data.inspection import inspected, lines
    from expkit.models.hub import go_online_if_asked
    from expkit.terminal.display import say, table
    from expkit.terminal.quiet import hush
    from expkit.training.prepared import read_and_encode

    hush()
    go_online_if_asked(cfg)
    splits, task, _, tokenizer, _, encoded = read_and_encode(cfg)
    report = inspected(task, splits.named(), encoded, tokenizer, full=True)
    columns = [_column(found) for found in report.values()]
    facts = dict.fromkeys(fact for column in columns for fact in column)
    table("data", ["", *report], [[f, *(c.get(f, "") for c in columns)] for f in facts])
    for line in list(lines(report))[len(report) :]:
        say(line)
    file = output_dir() / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, ensure_ascii=False, indent=2), encoding="utf-8")
    say(f"report: {file}")
    return True


def _column(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts about one split as texts."""
    from expkit.data.inspection import FINDINGS, PERCENTILES, shares

    tokens, unknown = found["tokens"], found["unknown_tokens"]
    return {
        "examples": f"{found['examples']:,}",
        **found["described"],
        **({"labels": shares(found["labels"])} if found["labels"] else {}),
        **{f"tokens, {key}": f"{tokens[key]:,}" for key in PERCENTILES},
        f"inputs that reach {tokens['limit']} tokens": f"{tokens['at_limit']:,}",
        "unknown tokens": "" if unknown is None else f"{unknown:.2%}",
        **{words: f"{found[k]['count']:,}" for k, words in FINDINGS.items() if k in found},
        "labels that no example has": f"{len(found['lacks'])}",
    }
