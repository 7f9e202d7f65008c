"""Judge configurations by what their runs have logged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from expkit.comparison.folds import complete, pooled
from expkit.comparison.groups import DIGEST, Group, best_of
from expkit.comparison.paired import DifferentExamples, require_same, statistics_of
from expkit.comparison.verdict import (
    LEVEL,
    RESAMPLES,
    Candidate,
    NoVerdict,
    Standing,
    Verdict,
    verdict,
)
from expkit.config.components import Metrics
from expkit.metrics.names import key_of
from expkit.metrics.outcomes import Outcomes
from expkit.metrics.result import CURVE, FINAL, VALIDATION, set_of
from expkit.terminal.errors import reason
from expkit.tracking.logged import LoggedRun, logged_run
from expkit.tracking.past import RACE
from expkit.tracking.store import connect

# For each seed of a configuration, the id of its run, or the ids of the runs of all folds.
Runs = Sequence[Sequence[str]]
Scorer = tuple[
    str, str, Any, Any
]  # a metric's name, one of its scores, its settings, and the metric


@dataclass(frozen=True)
class Judged:
    """Groups that compete, by name, and the verdict on them, or the reason why there is none."""

    contest: tuple[str, str, str]
    groups: Mapping[str, Group]
    verdict: Verdict | None
    reason: str = ""

    def standings(self) -> dict[str, Standing]:
        """Return the standing of each group by the id of its first run."""
        known = self.verdict.standings if self.verdict else ()
        return {self.groups[each.name].jobs[0].run_id: each for each in known}

    def surviving(self) -> list[Group]:
        """Return the groups that cannot be told from the best; without a verdict, those with the best score."""
        if self.verdict is None:
            return best_of(list(self.groups.values()))
        return [self.groups[standing.name] for standing in self.verdict.survivors]


def rivals_of(
    groups: Sequence[Group], sweeps: Sequence[Run]
) -> tuple[Sequence[Group], float, list[str]]:
    """Return what a race has left of the groups, the level at which to judge it, and words on that.

    Args:
        sweeps: the parent runs of the groups; of anything but a single race, all groups are left.
    """
    tag = sweeps[0].data.tags.get(RACE) if len(sweeps) == 1 else None
    if tag is None:
        return groups, LEVEL, []
    race = json.loads(tag)
    left = [group for group in groups if any(job.run_id in race["left"] for job in group.jobs)]
    names = ", ".join(group.name for group in left)
    return left, race["level"], [f"the race has left {names} of {len(groups)}; see sweep/race.json"]


def standings_of(judged: Sequence[Judged]) -> dict[str, Standing]:
    """Return the standing of each group that was judged by the id of its first run."""
    return {run_id: known for each in judged for run_id, known in each.standings().items()}


def words_of(judged: Sequence[Judged]) -> list[str]:
    """Return the verdicts in words, or why there is none; of several, with the task and the objective of each."""
    lines = []
    for each in judged:
        task, objective, _ = each.contest
        of = f"{task.rpartition('.')[2]}, {objective}: " if len(judged) > 1 else ""
        none = [f"no verdict{'' if of else f' on {objective}'}: {each.reason}"]
        lines += [of + line for line in (each.verdict.sentences() if each.verdict else none)]
    return lines


def verdicts_of(
    groups: Sequence[Group], trusted: frozenset[str], client: MlflowClient | None = None, **how: Any
) -> list[Judged]:
    """Judge each contest in which several groups compete on the same data.

    Args:
        trusted: packages from which the metrics may come.
        how: `resamples`, `seed` and `level`, see `judged`.
    """
    contests: dict[tuple[tuple[str, str, str], str], dict[str, Group]] = {}
    for group in groups:
        job = group.jobs[0]
        data = f"data.{set_of(job.params.get('objective', ''))}{DIGEST}"
        of_data = "" if job.fold else job.params.get(data, "")  # each fold has other data
        named = contests.setdefault((group.contest, of_data), {})
        # A configuration that was run twice with one seed makes two groups.
        name = group.name if group.name not in named else f"{group.name} {group.jobs[0].run_id[:8]}"
        named[name] = group
    found = []
    for (contest, _), named in contests.items():
        if len(named) < 2:
            continue
        try:
            runs = {name: runs_of(group) for name, group in named.items()}
            verdict = judged(runs, *contest[1:], trusted, client=client, **how)
            found.append(Judged(contest, named, verdict))
        except Exception as error:  # a user's metric may do anything; no sweep ends for that
            found.append(Judged(contest, named, None, reason(error)))
    return found


def runs_of(group: Group) -> Runs:
    """Return the runs of each seed; a seed that lacks folds has none."""
    by_seed: dict[str, dict[str, str]] = {}
    jobs = {(job.params.get("seed", ""), job.fold): job.run_id for job in group.jobs}
    folds = int(group.jobs[0].params.get("data.folds") or 1) if group.jobs[0].fold else 1
    for seed, fold in complete(jobs, folds):
        by_seed.setdefault(seed, {})[fold] = jobs[seed, fold]
    return [[of_seed[fold] for fold in sorted(of_seed)] for of_seed in by_seed.values()]


def judged(
    runs: Mapping[str, Runs],
    objective: str,
    direction: str,
    trusted: frozenset[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    client: MlflowClient | None = None,
) -> Verdict:
    """Judge configurations by the outcomes of their runs.

    Args:
        runs: those of each configuration, by its name.
        objective: the key of a score, such as `final/f1` or `june/f1`.
        trusted: packages from which the metrics may come.

    Raises:
        NoVerdict: the runs have no outcomes for this score, or were not scored on the same examples.
        UserError: a metric comes from a package that is not trusted.
    """
    if not direction:
        raise NoVerdict(f"nothing says whether less or more of {objective} is better")
    client = client or connect(None)
    kind = objective.partition("/")[0]
    of_set = VALIDATION if kind + "/" in (FINAL, CURVE) else kind
    scorer: Scorer | None = None
    first: Outcomes | None = None
    candidates = []
    for name, of_seeds in runs.items():
        if not of_seeds:
            raise NoVerdict(f"{name}: no seed has finished all folds")
        scored, seeds = [], []
        for ids in of_seeds:
            members = [logged_run(run_id, client) for run_id in ids]
            scorer = scorer or _scorer(members[0], of_set, objective, trusted)
            outcomes = _outcomes(members, of_set, scorer, objective)
            first = first or outcomes
            try:
                require_same(first, outcomes)
            except DifferentExamples as error:
                raise NoVerdict(
                    f"run {ids[0]} cannot be compared with the others: {error}"
                ) from None
            scored.append(statistics_of(scorer[3], outcomes))
            seeds.append(int(members[0].config.seed))
        candidates.append(Candidate(name, seeds, scored))
    assert scorer
    return verdict(candidates, scorer[1], direction, resamples, seed, level)


def _scorer(run: LoggedRun, of_set: str, objective: str, trusted: frozenset[str]) -> Scorer:
    """Find the metric that gives the score of the objective."""
    run.require_trusted("task.metrics", trusted)
    for outcomes in _kept(run, of_set):
        for name in outcomes.metrics:
            settings = run.metrics()[name]
            metric = Metrics({name: settings})[name]
            statistics = statistics_of(metric, outcomes)
            for score in statistics.resampled(np.ones((1, len(statistics)))):
                if key_of(f"{objective.partition('/')[0]}/{score}") == objective:
                    return name, score, settings, metric
    raise NoVerdict(
        f"{objective} is no score of the metrics of the task, which are known for each example"
    )


def _outcomes(
    members: Sequence[LoggedRun], of_set: str, scorer: Scorer, objective: str
) -> Outcomes:
    """Return what the metric has seen of a run, or of all folds together."""
    parts = {}
    for k, run in enumerate(members):
        if run.metrics().get(scorer[0]) != scorer[2]:
            raise NoVerdict(f"{objective} is not computed with the same settings in run {run.id}")
        parts["", str(k)] = [part for part in _kept(run, of_set) if scorer[0] in part.metrics]
    return pooled(parts)[0] if len(parts) > 1 else parts["", "0"][0]


def _kept(run: LoggedRun, of_set: str) -> list[Outcomes]:
    outcomes = run.outcomes(of_set)
    if outcomes is None:
        raise NoVerdict(
            f"run {run.id} has logged no outcomes of {of_set}; a task without metrics logs none"
        )
    return outcomes
