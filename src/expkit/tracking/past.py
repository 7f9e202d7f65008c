"""Runs of an experiment that were made before: by anybody, in any sweep, on any machine."""

from collections.abc import Iterator, Mapping
from heapq import merge

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

HIDDEN = (
    "mlflow."  # the UI does not show tags that begin so; earlier versions wrote theirs without it
)
FINGERPRINT = "mlflow.expkit.fingerprint"
FOLDER = "mlflow.expkit.folder"  # within the project: where the command was typed, for paths that it names
SWEEP = "expkit.sweep"  # of a job, the id of its parent run
SWEEP_VARIABLE = "EXPKIT_SWEEP"  # in the environment of a job, the same
OVERRIDES = "mlflow.expkit.overrides"  # as they were typed
OVERRIDES_VARIABLE = "EXPKIT_OVERRIDES"  # in the environment of a job, those of the job
TRIAL = "mlflow.expkit.trial"  # of a job of a search, the number of its trial
TRIAL_VARIABLE = "EXPKIT_TRIAL"  # in the environment of a job, the same
PRUNED = "expkit.pruned"  # "true" on runs that a search ended early: neither finished nor cut off
KIND = "mlflow.expkit.kind"  # "sweep" on parent runs
DATA_CONTEXT = "mlflow.data.context"  # tag of an input: the split that it is
ERROR = "expkit.error"  # why a run failed or was killed, in one line
INTERRUPTED = "was stopped by a signal; resume=auto with the same command goes on"

PAGE = 1000


def tag_of(tags: Mapping[str, str], name: str, default: str = "") -> str:
    """The value of one of the tags above, also of a run that has it by the name of before."""
    return tags.get(name, tags.get(name.removeprefix(HIDDEN), default))


def names_of(tag: str) -> tuple[str, ...]:
    """The names to search for it by; MLflow's language for queries knows no "or"."""
    return tuple(dict.fromkeys([tag, tag.removeprefix(HIDDEN)]))


def runs_with(
    client: MlflowClient,
    experiment: str,
    tag: str,
    value: str,
    view: int = ViewType.ACTIVE_ONLY,
) -> Iterator[MlflowRun]:
    """Runs with that value of a tag, the newest first; those that were deleted only if asked for."""
    by_name = [_named(client, experiment, name, value, view) for name in names_of(tag)]
    seen: set[str] = set()  # one that an earlier version began has both names
    for run in merge(*by_name, key=lambda run: -run.info.start_time):
        if run.info.run_id not in seen and tag_of(run.data.tags, tag) == value:
            seen.add(run.info.run_id)
            yield run


def _named(
    client: MlflowClient, experiment: str, tag: str, value: str, view: int
) -> Iterator[MlflowRun]:
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            filter_string=f"tags.`{tag}` = '{value}'",
            run_view_type=view,
            max_results=PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def finished_run(client: MlflowClient, experiment: str, fingerprint: str) -> MlflowRun | None:
    """The newest run of an experiment that came to its end."""
    runs = runs_with(client, experiment, FINGERPRINT, fingerprint)
    return next((run for run in runs if run.info.status == "FINISHED"), None)


def newest_run(client: MlflowClient, experiment: str, fingerprint: str) -> MlflowRun | None:
    """The newest run of an experiment, whatever became of it."""
    return next(runs_with(client, experiment, FINGERPRINT, fingerprint), None)


def was_cut_off(run: MlflowRun) -> bool:
    """Whether a run was killed or interrupted."""
    return bool(run.info.status == "KILLED") and not is_pruned(run)


def is_sweep(run: MlflowRun) -> bool:
    """Whether it is the parent run of a sweep."""
    return tag_of(run.data.tags, KIND) == "sweep"


def is_pruned(run: MlflowRun) -> bool:
    """Whether a search ended it early."""
    return bool(run.data.tags.get(PRUNED) == "true")
