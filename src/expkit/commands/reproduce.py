"""Run the configuration of a run again, and say whether its metrics agree."""

import argparse
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

# On the same machine a run gives the same metrics to the last bit. Another order of summation changes a
# metric by less than this, and one example more or less changes any score by far more.
TOLERANCE = 1e-6
REPRODUCES = "expkit.reproduces"  # tag of the new run; its value is the id of the first one


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_id", metavar="RUN_ID", help="an id, or its first characters")
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
    """Run the configuration again, and return whether all metrics agree."""
    if why := misdescribed():
        raise UserError(why)
    end_on_signals()
    return reproduce(options.run_id, options.tolerance, frozenset(options.trust))


def reproduce(run_id: str, tolerance: float, trusted: frozenset[str]) -> bool:
    """Train as the run did, compare the final metrics, and return whether all of them agree."""
    from expkit import experiment
    from expkit.config.checks import check
    from expkit.models.hub import go_online_if_asked
    from expkit.terminal.display import say
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run, use_threads
    from expkit.tracking.past import FOLDER, tag_of

    logged = logged_run(run_id)
    if (state := logged.run.info.status) != "FINISHED":
        raise UserError(
            f"run {logged.id}: has no final metrics that could come out again (state {state})"
        )
    hush()
    cfg = _again(logged, trusted)
    folder = project_root() / tag_of(logged.run.data.tags, FOLDER, str(Path.cwd()))
    if folder.is_dir():
        os.chdir(folder)
    try:
        # The check wants trusted modules to have been typed; here the user has typed --trust.
        check(cfg, ["trusted_modules=..."] if trusted else [])
    except ConfigError as error:
        raise UserError(f"{error}\nrelative paths were looked for in {Path.cwd()}") from error
    go_online_if_asked(cfg)
    environment = logged.environment()
    use_threads(environment)
    changed = _changes(logged, environment, cfg)
    for line in changed:
        say(f"differs: {line}")
    again = logged_run(experiment.run(cfg, {}).run_id)
    again.client.set_tag(again.id, REPRODUCES, logged.id)
    return _show(logged, again, tolerance, changed)


def _again(logged: "LoggedRun", trusted: frozenset[str]) -> "DictConfig":
    """Return the configuration of the run, changed so that it starts anew in the store of this command."""
    cfg = logged.config.copy()
    for key in cfg:
        logged.require_trusted(str(key), trusted)
    # The tag says which format `precision=auto` has chosen.
    cfg.precision = logged.run.data.tags.get("precision", cfg.precision)
    cfg.tracking.uri = None
    cfg.resume = "never"
    cfg.dry_run = False
    cfg.run_name = f"{logged.run.info.run_name} again"
    cfg.trusted_modules = sorted(trusted)
    return cfg


def _changes(logged: "LoggedRun", then: Mapping[str, str], cfg: "DictConfig") -> list[str]:
    """Describe each version, commit, hardware and data split that is not what the run had."""
    from expkit.config.components import make_task
    from expkit.tracking.environment import environment
    from expkit.tracking.logged import data_digests
    from expkit.tracking.writer import DIGEST_LENGTH
    from expkit.training.prepared import read_data

    now = environment()
    changes = [
        f"{key}: {then.get(key, 'unknown')} then, {now.get(key, 'unknown')} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    digests = data_digests(logged.run)
    for name, split in read_data(cfg, make_task(cfg)).named().items():
        digest = split.digest[:DIGEST_LENGTH]
        if digests.get(name) != digest:
            changes.append(
                f"{name} data: digest {digests.get(name, 'unknown')} then, {digest} now "
                f"({split.source})"
            )
    return changes


def _show(
    logged: "LoggedRun", again: "LoggedRun", tolerance: float, changed: Sequence[str]
) -> bool:
    """Print each metric of both runs, and return whether all of them agree."""
    from expkit.terminal.display import say, table, tell
    from expkit.tracking.logged import rescored

    then, now = logged.scores(), again.scores()
    # A metric that was added later has no score of the baseline.
    added = tuple(rescored(logged.run))
    now = {k: v for k, v in now.items() if k in then or not k.endswith(added)} if added else now
    rows, differing = [], []
    for name in dict.fromkeys([*then, *now]):
        old, new = then.get(name), now.get(name)
        same = agree(old, new, tolerance)
        if not same:
            differing.append(name)
        difference = "" if old is None or new is None else f"{new - old:+.1e}"
        rows.append([name, _shown(old), _shown(new), difference, "yes" if same else "NO"])
    title = f"runs {logged.id[:8]} and {again.id[:8]}"
    table(title, ["metric", "logged", "again", "difference", "agrees"], rows)
    if not differing:
        say(f"reproduced: all {len(rows)} metrics agree")
        return True
    tell(f"not reproduced: {len(differing)} of {len(rows)} metrics differ: {', '.join(differing)}")
    for line in changed:
        tell(f"what may be the reason: {line}")
    return False


def agree(then: float | None, now: float | None, tolerance: float) -> bool:
    """Return whether two values of a metric are the same within the tolerance; NaN agrees with NaN."""
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
