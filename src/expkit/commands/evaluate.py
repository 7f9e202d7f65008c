"""Score the exported models of finished runs on other data with labels, as the runs themselves score.

The scores, such as june/f1 for a file june.jsonl, are logged on the runs with predictions and outcomes, and
`expkit compare --set june` compares them. What was scored before is not scored again.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from expkit.commands import add_trust
from expkit.config.data_files import name_of, problems_of
from expkit.config.set_names import wrong_name
from expkit.processes.ranks import count, misdescribed
from expkit.terminal.errors import UserError, reason

if TYPE_CHECKING:
    from expkit.tracking.logged import LoggedRun


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    scored = parser.add_mutually_exclusive_group(required=True)
    about = "an id of a run, or its first characters"
    scored.add_argument("run_id", nargs="?", metavar="RUN_ID", help=about)
    about = "an id of a sweep, all of whose finished jobs are scored"
    scored.add_argument("--sweep", metavar="SWEEP_ID", help=about)
    about = (
        "files, folders or patterns with the columns of the training data, as data=files reads them"
    )
    parser.add_argument("--file", nargs="+", action="extend", required=True, help=about)
    about = "what the set is called (default: the name of the file without its suffix)"
    parser.add_argument("--name", metavar="NAME", help=about)
    add_trust(parser, "the task of the runs")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Score one run or those of a sweep, and print the scores."""
    if why := misdescribed():
        raise UserError(why)
    if count() > 1:
        raise UserError("this command runs in a single process, without torchrun or accelerate")
    name = _name(options.name, options.file)
    for file, why in problems_of(options.file):
        raise UserError(f"--file {file}: {why}")
    from expkit.tracking.evaluated import score_on

    ids = _jobs(options.sweep) if options.sweep else [options.run_id]
    files = options.file if len(options.file) > 1 else options.file[0]
    score_all(ids, partial(score_on, name=name, files=files, trusted=frozenset(options.trust)))
    return True


def score_all(ids: Sequence[str], score: "Callable[[LoggedRun], Mapping[str, float]]") -> None:
    """Score runs one after another, and print the scores.

    Raises:
        UserError: MLflow has not taken the scores of a run; or, after all runs, why some could not be scored.
    """
    from mlflow.exceptions import MlflowException

    from expkit.terminal.display import number, say
    from expkit.terminal.quiet import hush
    from expkit.tracking.logged import logged_run
    from expkit.tracking.store import connect

    hush()
    client = connect(None)
    failures: dict[str, None] = {}
    for run_id in ids:
        try:
            scores = score(logged_run(run_id, client))
        except UserError as error:
            failures[str(error)] = None
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run {run_id}: is not scored, because of {reason(error)}; what was scored before is kept, and the "
                "same command goes on"
            ) from error
        else:
            say("  ".join(f"{key} {number(value)}" for key, value in scores.items()))
    if failures:
        raise UserError("\n".join(failures))


def _name(given: str | None, files: Sequence[str]) -> str:
    """Return the name of the set: the one that was given, or that of the only file."""
    name = name_of(Path(files[0])) if given is None else given
    if given is None and len(files) > 1:
        raise UserError("--file: names several files, so the set needs a name, such as --name june")
    if why := wrong_name(name):
        way_out = "" if given is not None else "; choose one, such as --name june"
        raise UserError(f"--{'file' if given is None else 'name'}: {name!r} {why}{way_out}")
    return name


def _jobs(sweep: str) -> list[str]:
    """Return the ids of the finished jobs of a sweep."""
    from expkit.comparison.groups import FINISHED
    from expkit.tracking.jobs import select

    selection = select([sweep])
    if not selection.title:
        raise UserError(f"--sweep {sweep}: is a single run; leave out --sweep")
    ids = [job.run_id for job in selection.jobs if job.state == FINISHED]
    if not ids:
        raise UserError(f"--sweep {sweep}: none of its jobs has finished")
    return ids
