"""What a report on a sweep holds, from what its runs have logged."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib import rc_context
from mlflow import MlflowClient
from mlflow.entities import Run

from expkit.comparison import plot
from expkit.comparison.errors import Table, tables
from expkit.comparison.groups import DIGEST, FINISHED, Group, grouped, metrics_to_show
from expkit.comparison.report import grid
from expkit.comparison.verdict import signed
from expkit.data.inspection import lines
from expkit.metrics.names import key_of
from expkit.metrics.pictures import draw_plainly
from expkit.metrics.result import VALIDATION, curve_of, set_of
from expkit.terminal.display import number
from expkit.terminal.errors import UserError
from expkit.tracking.jobs import Selection
from expkit.tracking.logged import ENVIRONMENT, artifact_of
from expkit.tracking.past import DATA_CONTEXT, OVERRIDES, tag_of
from expkit.tracking.store import connect
from expkit.tracking.verdicts import Judged, rivals_of, runs_of, standings_of, verdicts_of, words_of

MOST_SHOWN = 12  # configurations beside each other
# Title, sentences, pictures as SVG, tables and commands of a section.
Part = tuple[str, Sequence[str], Sequence[str], Sequence[Table], Sequence[str]]
Runs = Mapping[str, Run]  # by their ids


def parts_of(selection: Selection, trusted: frozenset[str]) -> list[Part]:
    """Return the sections of a report, or raise a UserError if no job of the sweep has finished."""
    client, groups = connect(None), grouped(selection.jobs)
    if not groups:
        raise UserError(f"{selection.title}: no job has finished, so there is nothing to report")
    runs = {job.run_id: client.get_run(job.run_id) for job in selection.jobs if job.run_id}
    rivals, level, said = rivals_of(groups, selection.sweeps)
    judged = verdicts_of(rivals, trusted, client, level=level)
    best = [group for each in judged for group in each.surviving()] or ([*rivals] if said else [])
    said = [*said, *words_of(judged)]
    parts = [_setting(selection, groups, best), _data(groups, runs)]
    parts.append(_verdict(groups, judged, said))
    contests = [(each.contest, each.groups) for each in judged]
    judged_too = {contest for contest, _ in contests}
    alone = dict.fromkeys(g.contest for g in rivals if g.contest not in judged_too)
    contests += [(of, {g.name: g for g in rivals if g.contest == of}) for of in alone]
    for (task, score, _), named in contests:
        title = f" of {task}, {score}" if len(contests) > 1 else ""
        objective = next(iter(named.values())).jobs[0].params["objective"]
        chosen = [(name, group) for name, group in named.items() if group in best] or named.items()
        few = dict(islice(chosen, MOST_SHOWN))
        drawn = named if len(named) <= MOST_SHOWN else few
        seeds = {name: runs_of(group) for name, group in few.items()}
        words, shown = tables(
            {
                n: [[_answers(runs[run], objective) for run in of] for of in s]
                for n, s in seeds.items()
            }
        )
        parts.append((f"Curves{title}", [], [_curves(client, objective, drawn)], [], []))
        parts.append((f"Errors{title}", [words], [], shown, []))
    return [*parts, *_circumstances(selection, runs)]


def _setting(selection: Selection, groups: Sequence[Group], best: Sequence[Group]) -> Part:
    made = grid(groups, metrics_to_show(groups, []), best)
    every = [job.params for group in groups for job in group.jobs]
    same = set.intersection(*(set(params.items()) for params in every))
    shared = [[*of] for of in every[0].items() if of in same and not of[0].endswith(DIGEST)]
    failed = [[j.name, j.state, j.error] for j in selection.jobs if j.state != FINISHED]
    caption = "Mean ± standard deviation over n runs (* cannot be told from the best)"
    words = f"{len(every)} of {len(selection.jobs)} jobs have finished. This command started them:"
    command = f"python -m expkit -m {tag_of(selection.sweeps[0].data.tags, OVERRIDES)}"
    shown: list[Table] = [
        (caption, len(groups[0].differing) or 1, [*made.columns], [[*row] for row in made.rows]),
        ("Jobs that have not finished", 3, ["job", "state", "why"], failed),
        ("Settings that all finished runs share", 2, ["key", "value"], shared),
    ]
    return "What was run", [words], [], shown, [command]


def _data(groups: Sequence[Group], runs: Runs) -> Part:
    rows: dict[tuple[str, ...], None] = {}
    inputs = [runs[job.run_id].inputs for group in groups for job in group.jobs]
    for entry in (entry for of in inputs if of for entry in of.dataset_inputs):
        data, split = entry.dataset, {tag.key: tag.value for tag in entry.tags}[DATA_CONTEXT]
        source, size = json.loads(data.source)["uri"], json.loads(data.profile)["num_rows"]
        rows[split, data.name, str(source), data.digest, f"{size:,}"] = None
    found = artifact_of(runs[groups[0].best_job.run_id], "data/report.json")
    words = [*lines(json.loads(found.read_text(encoding="utf-8")))] if found else []
    columns = ["split", "name", "source", "digest", "examples"]
    return "Data", words, [], [("Splits", 4, columns, [[*row] for row in rows])], []


def _verdict(groups: Sequence[Group], judged: Sequence[Judged], words: Sequence[str]) -> Part:
    standings = standings_of(judged)
    rows = []
    for s in standings.values():
        interval = f"{signed(s.low)} to {signed(s.high)}" if s.low < s.high else ""
        scores = [f"{s.seeds}", number(s.score), signed(s.difference), interval, f"{s.p:.3f}"]
        rows.append([s.name, "yes" if s.survives else "no", *scores])
    columns = ["configuration", "in the set", "seeds", "score", "best − score", "95 %", "p"]
    words = words or ["Nothing competes."]
    has_values = any(group.values(group.objective) for group in groups)
    pictures = [_svg(partial(plot.draw, groups, standings))] if has_values else []
    caption = "Standings; those in the set cannot be told from the best"
    return "Verdict", words, pictures, [(caption, 2, columns, rows)], []


def _curves(client: MlflowClient, objective: str, groups: Mapping[str, Group]) -> str:
    """Draw the objective and the loss of training over the steps."""

    def curve(group: Group, key: str) -> plot.Curve:
        points = [(math.nan, math.nan)]
        for job in group.jobs:
            history = client.get_metric_history(job.run_id, key)
            points += [*sorted((p.step, p.value) for p in history), points[0]]
        return [step for step, _ in points], [value for _, value in points]

    keys = dict.fromkeys((key_of(curve_of(objective)), "train/loss"))
    panels = {key: {name: curve(group, key) for name, group in groups.items()} for key in keys}
    return _svg(partial(plot.draw_curves, panels))


def _answers(run: Run, objective: str) -> Path | None:
    """Return the table of answers that a run has logged on the set of the objective."""
    folder = "eval" if set_of(objective) == VALIDATION else set_of(objective)
    paths = (f"{folder}/{name}.json" for name in ("predictions", "translations"))
    return next(filter(None, (artifact_of(run, path) for path in paths)), None)


def _circumstances(selection: Selection, runs: Runs) -> list[Part]:
    """Return the times, versions and hardware of all runs, and the commands that repeat them."""
    jobs = [job for job in selection.jobs if job.run_id]
    infos = [runs[job.run_id].info for job in jobs]
    seconds = [((info.end_time or info.start_time) - info.start_time) / 1000 for info in infos]
    times = [[j.name, j.run_id, j.state, f"{s:,.0f}"] for j, s in zip(jobs, seconds, strict=True)]
    caption = f"Seconds of each run, {sum(seconds):,.0f} in all"
    found: dict[str, dict[str, None]] = {}
    for file in filter(None, (artifact_of(runs[job.run_id], ENVIRONMENT) for job in jobs)):
        for key, value in json.loads(file.read_text(encoding="utf-8")).items():
            found.setdefault(key, {})[value] = None
    versions = [[key, "; ".join(values)] for key, values in found.items()]
    words = "The command at the top repeats all, and these the single runs:"
    again = [f"python -m expkit.reproduce {j.run_id}" for j in jobs if j.state == FINISHED]
    return [
        ("Time", [], [], [(caption, 3, ["job", "run", "state", "seconds"], times)], []),
        ("Versions and hardware", [], [], [("Of all runs", 2, ["what", "value"], versions)], []),
        ("Doing it again", [words], [], [], again),
    ]


def _svg(draw: Callable[[Path], object]) -> str:
    """Return a picture as SVG, with its letters as text."""
    with TemporaryDirectory() as folder, rc_context({"svg.fonttype": "none"}):
        draw_plainly(draw, file := Path(folder, "picture.svg"))
        return f"<svg{file.read_text(encoding='utf-8').partition('<svg')[2]}"
