"""Runs of an experiment that were made before: by anybody, in any sweep, on any machine."""

from collections.abc import Iterator, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

HIDDEN = "mlflow."  # the UI does not show tags that begin so; those of earlier versions lack it
FINGERPRINT = "mlflow.expkit.fingerprint"
FOLDER = "mlflow.expkit.folder"  # within the project: where the command was typed, for paths that it names
SWEEP = "expkit.sweep"  # of a job, the id of its parent run
OVERRIDES = "mlflow.expkit.overrides"  # as they were typed
TRIAL = "mlflow.expkit.trial"  # of a job of a search, the number of its trial
PRUNED = "expkit.pruned"  # "true" on runs that a search ended early: neither finished nor cut off
KIND = "mlflow.expkit.kind"  # "sweep" on parent runs
DATA_CONTEXT = "mlflow.data.context"  # tag of an input: the split that it is
ERROR = "expkit.error"  # why a run failed or was killed, in one line
INTERRUPTED = "was stopped by a signal; resume=auto with the same command goes on"

MOST = 50_000  # runs; MLflow sends no more at once


def tag_of(tags: Mapping[str, str], name: str, default: str = "") -> str:
    """The value of one of the tags above, also of a run that has it by the name of before."""
    return tags.get(name, tags.get(name.removeprefix(HIDDEN), default))


def runs_with(
    client: MlflowClient,
    experiments: Sequence[str],
    tag: str,
    value: str,
    view: int = ViewType.ACTIVE_ONLY,
    also: str = "",
) -> Iterator[MlflowRun]:
    """Runs with that value of a tag, the newest first; those that were deleted only if asked for.

    Args:
        also: a condition that goes before the one of the tag.
    """
    found: dict[str, MlflowRun] = {}  # one that an earlier version began has both names
    for name in sorted({tag, tag.removeprefix(HIDDEN)}):  # MLflow's queries know no "or"
        condition = f"{also}tags.`{name}` = '{value}'"
        runs = client.search_runs(experiments, condition, view, max_results=MOST)
        found |= {r.info.run_id: r for r in runs if tag_of(r.data.tags, tag) == value}
    yield from sorted(found.values(), key=lambda run: -run.info.start_time)


def newest_run(client: MlflowClient, experiment: str, fingerprint: str) -> MlflowRun | None:
    """The newest run of an experiment, whatever became of it."""
    return next(runs_with(client, [experiment], FINGERPRINT, fingerprint), None)


def was_cut_off(run: MlflowRun) -> bool:
    """Whether a run was killed or interrupted."""
    return bool(run.info.status == "KILLED") and not is_pruned(run)


def is_sweep(run: MlflowRun) -> bool:
    """Whether it is the parent run of a sweep."""
    return tag_of(run.data.tags, KIND) == "sweep"


def is_pruned(run: MlflowRun) -> bool:
    """Whether a search ended it early."""
    return bool(run.data.tags.get(PRUNED) == "true")
