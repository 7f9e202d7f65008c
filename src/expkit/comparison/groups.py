"""Group jobs that differ only in their seed, and find what differs between the groups."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from expkit.config.direction import DIRECTIONS, MAXIMIZE, MINIMIZE
from expkit.config.fingerprint import IRRELEVANT
from expkit.config.glue import task_in
from expkit.config.set_names import wrong_name
from expkit.metrics.names import key_of
from expkit.metrics.result import FINAL, VALIDATION, final_of
from expkit.terminal.errors import UserError, nearest

FINISHED = "FINISHED"
TASK = "task._target_"
SIGNS = {
    MINIMIZE: 1,
    MAXIMIZE: -1,
    "": 0,
}  # a better score is less when it is multiplied by its sign
FOLD = "data.fold"
DIGEST = "_digest"  # ending of the parameters with digests of the data, such as data.train_digest
EVALUATED = "evaluated"  # group of parameters with digests of the sets that were scored later


@dataclass(frozen=True)
class ComparedRun:
    """A run, with what a comparison needs of it.

    Attributes:
        state: a state of MLflow, or NOT STARTED.
        params: the flat configuration, and digests of the data as `data.<split>_digest`, or as
            `evaluated.<set>` for a set that was scored later.
        chosen: the overrides that differ within its sweep; empty for a run outside of sweeps.
    """

    name: str
    run_id: str
    state: str
    error: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    chosen: Mapping[str, str]

    @property
    def fold(self) -> str:
        """Return the number of its fold; empty for a run that is none of several folds."""
        return fold if (fold := self.params.get(FOLD, "")).isdecimal() else ""

    @property
    def objective(self) -> str:
        """Return the key of the objective, such as `final/f1`; empty for a run of another program."""
        given = self.params.get("objective")
        return key_of(final_of(given)) if given else ""

    def on_set(self, name: str) -> "ComparedRun":
        """Return this run as one whose objective is the same score of another set, such as `june/f1`."""
        params = dict(self.params)
        params["objective"] = f"{name}/{params.get('objective', '').partition('/')[2]}"
        if later := params.get(f"{EVALUATED}.{name}"):
            params[f"data.{name}{DIGEST}"] = later
        return replace(self, params=params)

    @property
    def direction(self) -> str:
        """Return `minimize` or `maximize`; empty for a run of a version that did not log it."""
        given = self.params.get("direction", "")
        return given if given in DIRECTIONS else ""


@dataclass(frozen=True)
class Group:
    """Finished jobs that differ only in seed and fold; `differing` tells the group from the others."""

    differing: Mapping[str, str]
    jobs: Sequence[ComparedRun]

    @property
    def name(self) -> str:
        """Return what tells the group from the others in short, such as `optimizer=SGD lr=0.01`."""
        parts = (
            f"{key.removesuffix('._target_').rpartition('.')[2]}={value}"
            for key, value in self.differing.items()
        )
        return " ".join(parts) or self.jobs[0].name

    @property
    def objective(self) -> str:
        """Return the objective, which all jobs of the group share."""
        return self.jobs[0].objective

    @property
    def direction(self) -> str:
        """Return `minimize` or `maximize`; empty if nothing says which."""
        return self.jobs[0].direction

    @property
    def contest(self) -> tuple[str, str, str]:
        """Return what two groups must share for one of them to be the better."""
        params = self.jobs[0].params
        of_glue = task_in({key: params.get(f"data.{key}") for key in ("_target_", "task")})
        return f"{params.get(TASK, '')} {of_glue}".strip(), self.objective, self.direction

    @property
    def best_job(self) -> ComparedRun:
        """Return the job with the best objective; the first one if nothing says what is better.

        A value that is not defined, NaN, is worse than any other.
        """
        sign = SIGNS[self.direction]
        values = [job.metrics.get(self.objective, math.nan) for job in self.jobs]
        numbers = [math.inf if math.isnan(value) else sign * value for value in values]
        return self.jobs[numbers.index(min(numbers))]

    def values(self, metric: str) -> list[float]:
        """Return the value of each job that has the metric."""
        return [job.metrics[metric] for job in self.jobs if metric in job.metrics]

    def mean(self, metric: str) -> float | None:
        """Return the mean over seeds; None without values."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Return the sample standard deviation over seeds; None with fewer than two values."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


def grouped(jobs: Sequence[ComparedRun]) -> list[Group]:
    """Group the finished jobs, and sort the groups of each contest from the best to the worst.

    A seed, or a fold with a seed, counts once in a mean: where it was run twice, the second run starts another group.
    """
    by_config: dict[tuple[int, tuple[tuple[str, str], ...]], list[ComparedRun]] = {}
    repetitions: Counter[tuple[tuple[str, str], ...]] = Counter()
    for job in jobs:
        if job.state == FINISHED:
            config = tuple(sorted(_relevant(job.params).items()))
            same = (("seed", job.params.get("seed", "")), (FOLD, job.fold), *config)
            by_config.setdefault((repetitions[same], config), []).append(job)
            repetitions[same] += 1
    members = list(by_config.values())
    differing = _overrides(members) or _differences(members)
    groups = [Group(*pair) for pair in zip(differing, members, strict=True)]
    contests = list(dict.fromkeys(group.contest for group in groups))
    return sorted(groups, key=lambda group: (contests.index(group.contest), _rank(group)))


def best_of(groups: Sequence[Group]) -> list[Group]:
    """Return the best groups, which may tie, of each contest in which several groups compete."""
    several = Counter(group.contest for group in groups)
    ranked = [
        g for g in groups if several[g.contest] > 1 and g.direction and _rank(g) < float("inf")
    ]
    top = {c: min(_rank(g) for g in ranked if g.contest == c) for c in {g.contest for g in ranked}}
    return [group for group in ranked if _rank(group) == top[group.contest]]


def metrics_to_show(
    groups: Sequence[Group], wanted: Sequence[str], group_of_set: str = FINAL
) -> list[str]:
    """Return the metrics that the user wants; else objectives, then other scores of a set, then the loss.

    A score that is part of another one, such as f1_PER of f1, is only shown if the user wants it.

    Args:
        group_of_set: what the names of the scores begin with: `june/` for the set june.
    """
    known = list(dict.fromkeys(m for group in groups for job in group.jobs for m in job.metrics))
    if wanted:
        return [_known(name, known, group_of_set) for name in wanted]
    scores = [name for name in known if name.startswith(group_of_set)]
    main = [n for n in scores if not any(n.startswith(f"{other}_") for other in scores)]
    objectives = [group.objective for group in groups if group.objective in known]
    losses = [name for name in main if name == f"{group_of_set}loss"]
    return list(dict.fromkeys([*objectives, *(n for n in main if n not in losses), *losses]))


def require_scored(jobs: Sequence[ComparedRun], name: str) -> None:
    """Raise a UserError unless one of the jobs was scored on the evaluation set of this name."""
    groups = {metric.partition("/")[0] for job in jobs for metric in job.metrics}
    sets = sorted(group for group in groups if group == "test" or not wrong_name(group))
    if name not in sets:
        raise UserError(
            f"--set {name}: none of the runs was scored on it; {nearest(name, [VALIDATION, *sets])}"
        )


def short_names(keys: Sequence[str]) -> list[str]:
    """Shorten `optimizer.lr` to `lr`, unless two keys would become the same."""
    last = [key.removesuffix("._target_").rpartition(".")[2].rpartition("/")[2] for key in keys]
    return [n if last.count(n) == 1 else key for n, key in zip(last, keys, strict=True)]


def _known(name: str, known: Sequence[str], group: str) -> str:
    for candidate in (name, group + name, key_of(name), key_of(group + name)):
        if candidate in known:
            return candidate
    curves = ("train/", "eval/", "eval.")
    allowed = [m.removeprefix(group) for m in known if not m.startswith(curves)]
    raise UserError(f"--metrics {name}: no such metric; {nearest(name, allowed)}")


def _rank(group: Group) -> float:
    """Return a number that is less for a better group, and infinite for one without a result."""
    mean = group.mean(group.objective)
    if mean is None or mean != mean:
        return float("inf")
    return SIGNS[group.direction] * mean


def _relevant(params: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that decide the result, without seed and fold."""
    ignored = (*IRRELEVANT, "seed", "objective", "direction", EVALUATED)
    found = {k: v for k, v in params.items() if k.partition(".")[0] not in ignored}
    if found.pop(FOLD, "").isdecimal():  # each fold has other splits of the same file
        found = {k: v for k, v in found.items() if not k.endswith(DIGEST)}
    return found


def _overrides(groups: Sequence[Sequence[ComparedRun]]) -> list[Mapping[str, str]]:
    """Return what the user typed for each group of a sweep, if that tells the groups apart."""
    found = [
        {k: v for k, v in jobs[0].chosen.items() if k not in ("seed", FOLD)} for jobs in groups
    ]
    same_keys = len({tuple(of_group) for of_group in found}) == 1
    different = len({tuple(of_group.items()) for of_group in found}) == len(found)
    all_chosen = all(job.chosen for jobs in groups for job in jobs)
    return list(found) if same_keys and different and all_chosen else []


def _differences(groups: Sequence[Sequence[ComparedRun]]) -> list[Mapping[str, str]]:
    """Return the parameters that are not the same in all groups.

    Where the classes differ, only their names are shown, and not the arguments that just one of them takes.
    Data and model that come with a task are not shown beside it.
    """
    found = [_relevant(jobs[0].params) for jobs in groups]
    known = dict.fromkeys(key for params in found for key in params)
    keys = [key for key in known if len({params.get(key) for params in found}) > 1]
    shown = [key for key in keys if not _follows(key, keys, found)]
    return [{key: _value(key, params.get(key, "")) for key in shown} for params in found]


def _follows(key: str, keys: Sequence[str], found: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a difference is only the consequence of another one that is shown."""
    if key.endswith(DIGEST) and any(k.startswith("data.") and not k.endswith(DIGEST) for k in keys):
        return True
    target = f"{key.partition('.')[0]}._target_"
    if target in keys and key != target and not all(key in params for params in found):
        return True
    pairs = {(params.get(TASK), params.get(key)) for params in found}
    return TASK in keys and key != TASK and len(pairs) == len({task for task, _ in pairs})


def _value(key: str, value: str) -> str:
    return value.rpartition(".")[2] if key.endswith("_target_") else value
