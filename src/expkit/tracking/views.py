"""Addresses of the MLflow UI, and the views that it keeps: columns, order, filter and charts.

A view is a tag of the experiment, so everybody who opens its address sees it. Metrics are logged as they
are, and the UI does not round them: the widths of the columns decide how many digits are seen.
"""

import base64
import json
import re
import time
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from expkit.config.direction import MINIMIZE
from expkit.metrics.names import key_of
from expkit.metrics.result import FINAL, final_of
from expkit.terminal.display import say
from expkit.tracking.note import Row, with_direction
from expkit.tracking.params import TYPED
from expkit.tracking.store import experiment_ids

# Without it the UI opens in its mode for language models, which hides runs among traces.
MODE = "workflowType=machine_learning"
LOCAL = "http://127.0.0.1:5000"  # where `make ui` serves a store that has no server
TAG = "mlflow.sharedViewState."
ALL_RUNS = "expkit"  # the key of an experiment's view; of a sweep's: expkit-ID
KEPT_SWEEPS = 20  # views; all of them travel with each request for the experiment
NEWEST = 50  # runs of an experiment that decide what its view shows
SIDE_BY_SIDE = 10  # runs at most in an address that compares them
NAMES = ("task", "model", "data")  # tags expkit.*
# All runs have this parameter. A sweep has what was typed, and hardly anybody types this one.
IS_A_RUN = "params.`task._target_` LIKE '%'"
MOST_VARIED = 5  # parameters in a chart
TABLE_WIDTH = 1160  # pixels for columns in a window of 1500; further ones can be chosen there
FIRST = {"attributes.`Run Name`": 220}
LAST = {"tags.`expkit.error`": 160, "duration": 80, "runDateAndNestInfo": 120}
# Smoothed, a curve that nobody has measured is drawn above the real one.
LINE = {"type": "LINE", "lineSmoothness": 0, "useGlobalLineSmoothing": True, "scaleType": "linear",
        "ignoreOutliers": False, "xAxisScaleType": "linear", "xAxisKey": "step", "range": {},
        "selectedXAxisMetricKey": "", "useGlobalXaxisKey": True, "yAxisKey": "metric",
        "yAxisExpressions": []}  # fmt: skip
DIFFERENCE = {"type": "DIFFERENCE", "chartName": "What differs", "showChangeFromBaseline": True,
              "compareGroups": ["Parameters", "Model metrics"], "showDifferencesOnly": True,
              "baselineColumnUuid": ""}  # fmt: skip

Results = Mapping[str, tuple[str, str]]  # by key: its curve, and its direction


def page_of(experiment: str, run_id: str) -> str:
    """The page of a run. Like all addresses here it begins behind the host, so it is a link too."""
    return f"#/experiments/{experiment}/runs/{run_id}?{MODE}"


def announce(client: MlflowClient, places: Mapping[str, str], width: int) -> None:
    """Say addresses by their names; for a store that has no server also how to start one."""
    uri = str(client.tracking_uri)
    host = LOCAL
    if uri.startswith("http"):
        host = re.sub(r"(?<=://).*@", "", uri).partition("?")[0].rstrip("/")
    else:
        say(f"{'look at':<{width}}make ui, and then")
    for name, address in places.items():
        say(f"{name:<{width}}{host}/{address}")


def announce_run(client: MlflowClient, run_id: str) -> None:
    """Say where a run's page is and the view of all runs, which is kept; nothing if MLflow is away."""
    try:
        experiment = client.get_run(run_id).info.experiment_id
        places = {"run page": page_of(experiment, run_id), "compare": keep_all(client, experiment)}
    except MlflowException:
        return
    announce(client, places, width=20)


def start_page(client: MlflowClient) -> str:
    """The view of the experiment with the newest run; a list of experiments without any run."""
    newest = client.search_runs(experiment_ids(client), max_results=1)
    return keep_all(client, newest[0].info.experiment_id) if newest else f"#/experiments?{MODE}"


def keep_all(client: MlflowClient, experiment: str) -> str:
    """Keep the view of all runs of an experiment; returns the address of its table."""
    newest = client.search_runs([experiment], IS_A_RUN, max_results=NEWEST)
    return _keep(client, experiment, ALL_RUNS, "All runs", of_experiment(newest))


def keep_sweep(
    client: MlflowClient, experiment: str, run_id: str, name: str, rows: Sequence[Row]
) -> dict[str, str]:
    """Keep the view of a sweep's jobs; returns `table`, `charts`, and `compare` if they are few."""
    state = of_sweep(run_id, rows)
    table = _keep(client, experiment, f"{ALL_RUNS}-{run_id}", f"{name} ({run_id[:8]})", state)
    places = {"table": table, "charts": f"{table}&compareRunsMode=CHART"}
    ids = [row.run_id for row in rows if row.run_id]
    if 1 < len(ids) <= SIDE_BY_SIDE:
        runs, experiments = quote(json.dumps(ids)), quote(json.dumps([experiment]))
        places["compare"] = f"#/compare-runs?runs={runs}&experiments={experiments}&{MODE}"
    return places


def of_sweep(run_id: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The view of the jobs of a sweep, given by the id of its run."""
    seen = {key for row in rows for key in row.metrics}
    results = _results(((row.objective, row.direction) for row in rows), seen)
    varied = list(dict.fromkeys(key_of(key) for row in rows for key in row.differing))
    return _view(results, seen, varied, (), f"tags.`mlflow.parentRunId` = '{run_id}'")


def of_experiment(runs: Sequence[MlflowRun]) -> dict[str, Any]:
    """The view of all runs but sweeps of an experiment; the newest ones decide what it shows."""
    params = [run.data.params for run in runs]
    seen = {key for run in runs for key in run.data.metrics}
    told = ((p["objective"], p.get("direction", "")) for p in params if "objective" in p)
    typed = dict.fromkeys(k.removeprefix(TYPED) for p in params for k in p if k.startswith(TYPED))
    varied = [k for k in typed if k not in NAMES and len({p.get(k) for p in params}) > 1]
    return _view(_results(told, seen), seen, varied, NAMES, IS_A_RUN)


def _results(told: Iterable[tuple[str, str]], seen: Collection[str]) -> Results:
    """From (objective, direction) of each run; without any `final/`, the ends of the curves."""
    found: dict[str, tuple[str, str]] = {}
    for objective, direction in told:
        final, curve = key_of(final_of(objective)), key_of(objective)
        key = curve if curve in seen and final not in seen else final
        found[key] = (curve, found.get(key, ("", ""))[1] or direction)
    return found


def _view(
    results: Results, seen: Collection[str], varied: list[str], names: Sequence[str], chosen: str
) -> dict[str, Any]:
    """The state that the UI reads, as MLflow 3.17 shares it.

    Args:
        results: the first of them decides the order.
        seen: all metrics that the runs have.
        varied: parameters that may differ.
        names: tags of ours that are columns before them.
        chosen: the filter.
    """
    columns = FIRST | {f"metrics.`{key}`": _width(key) for key in results}
    columns |= {f"tags.`expkit.{name}`": 100 for name in names}
    groups = {key.partition("/")[0] for key in results}
    others = [key for key in sorted({*seen} - {*results}) if key.partition("/")[0] in groups]
    tested = [key.replace(FINAL, "test/", 1) for key in results]
    others = [*(key for key in tested if key in seen and key not in results), *others]
    for kind, key in [*(("params", key) for key in varied), *(("metrics", key) for key in others)]:
        if sum((columns | LAST).values()) + _width(key) <= TABLE_WIDTH:
            columns[f"{kind}.`{key}`"] = _width(key)
    columns |= LAST
    # Ordered by a metric, the UI lists all runs; ordered by time, it hides jobs below their sweeps.
    orders = [
        {"orderByKey": f"metrics.`{key}`", "orderByAsc": direction == MINIMIZE}
        for key, (_, direction) in results.items()
    ]
    return {
        "selectedColumns": list(columns)[1:-2],  # the others are always there
        "columnOrder": list(columns),  # without it, no width counts
        "columnWidths": columns,
        **(orders[0] if orders else {}),
        "searchFilter": chosen,
        "runsHiddenMode": "SHOW_ALL",  # otherwise the charts show ten
        "isAccordionReordered": True,
        **_charts(results, seen, varied[:MOST_VARIED]),
    }


def _width(key: str) -> int:
    """Pixels of a column: as wide as its title needs, within reason."""
    return min(max(90, 8 * len(key)), 130)


def _charts(results: Results, seen: Collection[str], varied: Sequence[str]) -> dict[str, Any]:
    """A section for each result, whose name says its direction, and one with the curves."""
    charts: list[dict[str, Any]] = []
    for number, key in enumerate(results):
        place = {"metricSectionId": f"{number}"}
        charts.append({**place, "type": "BAR", "metricKey": key})
        if varied:
            axes = {"selectedParams": varied, "selectedMetrics": [key], "showAllRuns": False}
            charts.append({**place, "type": "PARALLEL", **axes})
    place = {"metricSectionId": f"{len(results)}"}
    curves = dict.fromkeys(curve for curve, _ in results.values() if curve != "eval/loss")
    for keys in [["train/loss", "eval/loss"], *([curve] for curve in curves)]:
        charts.append({**place, **LINE, "metricKey": keys[0], "selectedMetricKeys": keys})
    charts.append({**place, **DIFFERENCE})
    # The UI adds a chart for each metric that is not mentioned.
    for key in sorted({*seen} - {*results, *curves, "train/loss", "eval/loss"}):
        hidden = {"deleted": True, "isGenerated": True}
        charts.append({**place, "type": "BAR", "metricKey": key, **hidden})
    names = [with_direction(key, direction) for key, (_, direction) in results.items()]
    flags = {"deleted": False, "isGenerated": False}
    shown = {**flags, "display": True, "isReordered": True, "columns": 2, "cardHeight": 300}
    sections = enumerate([*names, "Curves"])
    return {
        "compareRunSections": [{"uuid": f"{n}", "name": name, **shown} for n, name in sections],
        "compareRunCharts": [{"uuid": f"c{n}", **flags, **c} for n, c in enumerate(charts)],
    }


def _keep(
    client: MlflowClient, experiment: str, key: str, name: str, view: Mapping[str, Any]
) -> str:
    """Keep a view unless it is there already; returns the address of its table.

    A server may refuse it, as it may be too long or the user may not be allowed to. The address then
    holds filter and order, which is all that an address can hold.
    """
    state = base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()
    table = f"#/experiments/{experiment}/runs?{MODE}"
    try:
        tags = dict(client.get_experiment(experiment).tags)
        if state not in tags.get(f"{TAG}{key}", ""):
            now = int(time.time() * 1000)
            times = {"createdAt": now, "updatedAt": now}
            tags[f"{TAG}{key}"] = json.dumps({"name": name, **times, "state": f"deflate;{state}"})
            client.set_experiment_tag(experiment, f"{TAG}{key}", tags[f"{TAG}{key}"])
            sweeps = [tag for tag in tags if tag.startswith(f"{TAG}{ALL_RUNS}-")]
            sweeps.sort(key=lambda tag: int(json.loads(tags[tag])["updatedAt"]))
            for old in sweeps[:-KEPT_SWEEPS]:
                client.delete_experiment_tag(experiment, old)
    except MlflowException:
        facets = {k: view[k] for k in ("searchFilter", "orderByKey", "orderByAsc") if k in view}
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facets.items()}
        return "&".join([table, *(f"{k}={quote(v, safe='')}" for k, v in texts.items())])
    return f"{table}&viewStateShareKey={key}"
