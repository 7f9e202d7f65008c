"""Find earlier runs in the store by their tags, also those that earlier versions of expkit logged."""

from collections.abc import Iterator, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

HIDDEN = "mlflow."  # the UI hides tags with this prefix; earlier versions of expkit used none
FINGERPRINT = "mlflow.expkit.fingerprint"
CHAIN = "mlflow.expkit.chain"  # on a job, the same for those that differ only in their length
CONTINUES = "expkit.continues"  # on a run, the id of the shorter run from whose state it began
FOLDER = "mlflow.expkit.folder"  # the working directory within the project, for relative paths
RACE = "mlflow.expkit.race"  # on the parent run of a race, as JSON: what is left, and the level of the last look
SWEEP = "expkit.sweep"  # on a job, the id of its parent run
OVERRIDES = "mlflow.expkit.overrides"  # what the user typed
TRIAL = "mlflow.expkit.trial"  # on a job of a search, the number of its trial
PRUNED = "expkit.pruned"  # "true" on runs that a search ended early, which are neither finished nor cut off
KIND = "mlflow.expkit.kind"  # "sweep" on parent runs
# On a run, digest and source of a set that `expkit evaluate` has scored; the name of the set follows.
EVALUATED = "mlflow.expkit.evaluated."
# On a run, a metric that `expkit rescore` has added, as JSON; its name follows.
RESCORED = "mlflow.expkit.rescored."
DATA_CONTEXT = "mlflow.data.context"  # on an input of a run, the name of its split
ERROR = "expkit.error"  # why a run failed or was killed, in one line
INTERRUPTED = "was stopped by a signal; resume=auto with the same command goes on"

MOST_RUNS = 50_000  # MLflow returns no more in one answer


def tag_of(tags: Mapping[str, str], name: str, default: str = "") -> str:
    """Return the value of one of the tags above, or of the same tag without the hidden prefix."""
    return tags.get(name, tags.get(name.removeprefix(HIDDEN), default))


def runs_with(
    client: MlflowClient,
    experiments: Sequence[str],
    tag: str,
    value: str,
    view: int = ViewType.ACTIVE_ONLY,
    also: str = "",
) -> Iterator[MlflowRun]:
    """Yield the runs with this value of a tag, the newest first.

    `view` says whether deleted runs count, and `also` is a further condition that ends in "and".
    """
    found: dict[
        str, MlflowRun
    ] = {}  # a run that two versions have written has both names of the tag
    for name in sorted({tag, tag.removeprefix(HIDDEN)}):  # MLflow's query language has no "or"
        condition = f"{also}tags.`{name}` = '{value}'"
        runs = client.search_runs(experiments, condition, view, max_results=MOST_RUNS)
        found |= {r.info.run_id: r for r in runs if tag_of(r.data.tags, tag) == value}
    yield from sorted(found.values(), key=lambda run: -run.info.start_time)


def newest_run(client: MlflowClient, experiment: str, fingerprint: str) -> MlflowRun | None:
    """Return the newest run with this fingerprint, whatever its state; None if there is none."""
    return next(runs_with(client, [experiment], FINGERPRINT, fingerprint), None)


def was_cut_off(run: MlflowRun) -> bool:
    """Return whether a run was killed or interrupted, and not ended by its search."""
    return bool(run.info.status == "KILLED") and not is_pruned(run)


def is_sweep(run: MlflowRun) -> bool:
    """Return whether this is the parent run of a sweep."""
    return tag_of(run.data.tags, KIND) == "sweep"


def is_pruned(run: MlflowRun) -> bool:
    """Return whether a search ended this run early."""
    return bool(run.data.tags.get(PRUNED) == "true")
