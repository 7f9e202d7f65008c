"""Run the configuration of a run again, and say whether its metrics agree."""

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.commands import add_trust
from expkit.config.project import project_root
from expkit.processes.interrupts import end_on_signals
from expkit.processes.ranks import misdescribed
from expkit.terminal.errors import ConfigError, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit.tracking.logged import LoggedRun

# On the same machine a run gives the same metrics to the last bit. This much lets sums be taken in
# another order, and is far less than what one example more or less does to any score.
TOLERANCE = 1e-6
FACTS = ("version.", "hardware.", "mlflow.source.git.commit", "git.dirty")  # tags of before
REPRODUCES = "expkit.reproduces"  # tag of the new run


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_id", metavar="RUN_ID", help="or the first characters of one")
    parser.add_argument(
        "--tolerance",
        type=_not_negative,
        default=TOLERANCE,
        help="largest difference of a metric, as a share of its value where that is above 1 "
        f"(default: {TOLERANCE:g})",
    )
    add_trust(parser, "the run's components")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Run it again, and return whether all metrics agree."""
    if why := misdescribed():
        raise UserError(why)
    end_on_signals()
    return reproduce(options.run_id, options.tolerance, frozenset(options.trust))


def reproduce(run_id: str, tolerance: float, trusted: frozenset[str]) -> bool:
    """Whether all final metrics of a run come out again.

    Raises:
        UserError: no such run, one that has not finished, or one that cannot be run here any more.
    """
    from expkit import experiment
    from expkit.config.checks import check
    from expkit.models.hub import go_online_if_asked
    from expkit.terminal.display import say
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run
    from expkit.tracking.past import FOLDER, tag_of

    logged = logged_run(run_id)
    if (state := logged.run.info.status) != "FINISHED":
        raise UserError(
            f"run {logged.id}: has no final metrics that could come out again (state {state})"
        )
    hush()
    cfg = _again(logged, trusted)
    folder = project_root() / tag_of(logged.tags, FOLDER, str(Path.cwd()))
    if folder.is_dir():
        os.chdir(folder)
    try:
        check(cfg, ["trusted_modules=..."] if trusted else [])  # they were typed as --trust
    except ConfigError as error:
        raise UserError(f"{error}\nrelative paths were looked for in {Path.cwd()}") from error
    go_online_if_asked(cfg)
    surroundings = _environment(logged)
    _use_threads(surroundings)
    changed = _changes(logged, surroundings, cfg)
    for line in changed:
        say(f"differs: {line}")
    again = logged_run(experiment.run(cfg, {}).run_id)
    again.client.set_tag(again.id, REPRODUCES, logged.id)
    then = logged.scores()
    return _show(then, again.scores(), tolerance, f"{logged.id[:8]} and {again.id[:8]}", changed)


def _again(logged: "LoggedRun", trusted: frozenset[str]) -> "DictConfig":
    """Its configuration, to be run from the start and into the store where it was found."""
    cfg = logged.config.copy()
    for key in cfg:
        logged.require_trusted(str(key), trusted)
    cfg.precision = logged.tags.get("precision", cfg.precision)  # what auto stood for
    cfg.tracking.uri = None
    cfg.resume = "never"
    cfg.dry_run = False
    cfg.run_name = f"{logged.run.info.run_name} again"
    cfg.trusted_modules = sorted(trusted)
    return cfg


def _environment(logged: "LoggedRun") -> dict[str, str]:
    """Versions, commit and hardware of a run: a file, or tags of one of an earlier version."""
    from expkit.tracking.writer import ENVIRONMENT

    if file := logged.artifact(ENVIRONMENT):
        return dict(json.loads(file.read_text(encoding="utf-8")))
    return {key: value for key, value in logged.tags.items() if key.startswith(FACTS)}


def _use_threads(facts: Mapping[str, str]) -> None:
    """As many as then, because they decide in which order sums are taken."""
    import torch

    from expkit.processes.cores import cores

    logged = int(facts.get("hardware.threads", 0))
    if 0 < logged <= cores():
        torch.set_num_threads(logged)


def _changes(logged: "LoggedRun", then: Mapping[str, str], cfg: "DictConfig") -> list[str]:
    """What is not as it was: versions, commit, hardware, data."""
    from expkit.config.components import make
    from expkit.tracking.environment import environment
    from expkit.tracking.logged import data_digests
    from expkit.tracking.writer import DIGEST_LENGTH

    now = environment()
    changes = [
        f"{key}: {then.get(key, 'unknown')} then, {now.get(key, 'unknown')} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    digests = data_digests(logged.run)
    for name, split in make(cfg, "data").named().items():
        digest = split.digest[:DIGEST_LENGTH]
        if digests.get(name) != digest:
            changes.append(
                f"{name} data: digest {digests.get(name, 'unknown')} then, {digest} now "
                f"({split.source})"
            )
    return changes


def _show(
    then: Mapping[str, float],
    now: Mapping[str, float],
    tolerance: float,
    runs: str,
    changed: Sequence[str],
) -> bool:
    """Print each metric of both runs; whether all of them agree."""
    from expkit.terminal.display import say, table, tell

    rows, differing = [], []
    for name in dict.fromkeys([*then, *now]):
        old, new = then.get(name), now.get(name)
        same = agree(old, new, tolerance)
        if not same:
            differing.append(name)
        difference = "" if old is None or new is None else f"{new - old:+.1e}"
        rows.append([name, _shown(old), _shown(new), difference, "yes" if same else "NO"])
    table(f"runs {runs}", ["metric", "logged", "again", "difference", "agrees"], rows)
    if not differing:
        say(f"reproduced: all {len(rows)} metrics agree")
        return True
    tell(f"not reproduced: {len(differing)} of {len(rows)} metrics differ: {', '.join(differing)}")
    for line in changed:
        tell(f"what may be the reason: {line}")
    return False


def agree(then: float | None, now: float | None, tolerance: float) -> bool:
    """Whether two values of a metric are the same; two that are no numbers are."""
    if then is None or now is None:
        return False
    both_are_nan = math.isnan(then) and math.isnan(now)
    return both_are_nan or math.isclose(then, now, rel_tol=tolerance, abs_tol=tolerance)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{value}: must be 0 or more")
    return value
