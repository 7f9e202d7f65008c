"""`make bench`: hold the contests, print the ratios, write a JSON file and a plot."""

import argparse
import json
import platform
from datetime import datetime
from pathlib import Path

import matplotlib.pyplot as plt
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import overhead, precision, preprocessing, start, sweep, throughput, tracking
from benchmarks.contest import Finding, hold
from expkit.config.project import output_dir
from expkit.training.precision import has_fast_bf16

GROUPS = {
    "throughput": throughput.contests,
    "precision": precision.contests,
    "overhead": overhead.contests,
    "start": start.contests,
    "sweep": sweep.contests,
    "tracking": tracking.contests,
    "preprocessing": preprocessing.contests,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="contests to hold; none: all of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder of real data sets; else generated")
    parser.add_argument("--list", action="store_true", help="name the contests")
    given = parser.parse_args()
    folder = output_dir() / "benchmarks"
    material = folder / "material"
    material.mkdir(parents=True, exist_ok=True)
    real = given.data.resolve() if given.data else None
    contests = [contest for make in GROUPS.values() for contest in make(material, real)]
    names = [contest.name for contest in contests]
    if given.list:
        print("\n".join(names))
        return
    if unknown := set(given.names) - set(names):
        parser.error(f"no such contest: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [contest for contest in contests if contest.name in (given.names or names)]
    findings = [finding for contest in chosen for finding in hold(contest, given.rounds)]
    show(findings)
    stem = folder / f"{datetime.now():%Y-%m-%d-%H%M%S}"
    facts = {"machine": machine(), "rounds": given.rounds}
    results = {**facts, "findings": [finding.as_json() for finding in findings]}
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    draw(findings, stem.with_suffix(".png"))
    print(f"{stem}.json and .png")


def machine() -> dict[str, str]:
    """What the figures hold for."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": str(psutil.cpu_count()),
        "torch": torch.__version__,
        "multiplies bf16": str(has_fast_bf16()),
    }


def show(findings: list[Finding]) -> None:
    """A row for each claim."""
    table = Table(
        *("contest", "measure", "of", "against", "ratio", "from", "to", "claimed", "holds")
    )
    for finding in findings:
        least = finding.claim.least
        table.add_row(
            finding.contest,
            finding.claim.measure,
            finding.claim.ours,
            finding.claim.reference,
            f"{finding.median:.2f}",
            f"{min(finding.ratios):.2f}",
            f"{max(finding.ratios):.2f}",
            "" if least is None else f"{least:.2f}",
            "" if least is None else ("yes" if finding.holds else "NO"),
        )
    Console().print(table)


def draw(findings: list[Finding], file: Path) -> None:
    """The ratios as bars with their spread, and what is claimed as a mark."""
    labels = [
        f"{f.contest}: {f.claim.measure}\n{f.claim.ours} against {f.claim.reference}"
        for f in findings
    ]
    medians = [f.median for f in findings]
    below = [f.median - min(f.ratios) for f in findings]
    above = [max(f.ratios) - f.median for f in findings]
    figure, axes = plt.subplots(figsize=(9, 1 + 0.55 * len(findings)), layout="constrained")
    axes.barh(labels, medians, xerr=[below, above], color="#4878a8", capsize=3)
    for row, finding in enumerate(findings):
        if finding.claim.least is not None:
            axes.plot([finding.claim.least] * 2, [row - 0.4, row + 0.4], color="#c04030")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times better than the reference (red: what is claimed)")
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
