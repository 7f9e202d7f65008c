"""Write views into MLflow, with columns, order, filter and charts, and return their addresses in the UI.

A view is a tag of the experiment, so everybody who opens its address sees it. The UI does not round metrics:
the width of a column decides how many digits it shows.
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
from expkit.metrics.result import curve_of, final_of
from expkit.terminal.display import say
from expkit.tracking.note import Row, with_direction
from expkit.tracking.params import TYPED
from expkit.tracking.store import experiment_ids

# Without this the UI opens in its mode for language models, which shows traces rather than runs.
MODE = "workflowType=machine_learning"
LOCAL = "http://127.0.0.1:5000"  # where `make ui` serves a store that has no server
TAG = "mlflow.sharedViewState."
ALL_RUNS = "expkit"  # the key of an experiment's view; that of a sweep is expkit-ID
KEPT_SWEEPS = 20  # views of sweeps; MLflow sends all of them with each request for the experiment
NEWEST = 50  # runs of an experiment that decide what its view shows
SIDE_BY_SIDE = 10  # most runs in an address that compares them
NAMES = ("task", "model", "data")  # tags of a run, such as expkit.task
# All runs have this parameter. A sweep has only the overrides that were typed, hardly ever this one.
IS_A_RUN = "params.`task._target_` LIKE '%'"
MOST_VARIED = 5  # parameters in a chart
TABLE_WIDTH = 1160  # pixels for columns in a window of 1500; the user can add further ones there
FIRST = {"attributes.`Run Name`": 220}
LAST = {"tags.`expkit.error`": 160, "duration": 80, "runDateAndNestInfo": 120}
# Without smoothing: the UI would draw a curve of values that nobody measured over the real one.
LINE = {"type": "LINE", "lineSmoothness": 0, "useGlobalLineSmoothing": True, "scaleType": "linear",
        "ignoreOutliers": False, "xAxisScaleType": "linear", "xAxisKey": "step", "range": {},
        "selectedXAxisMetricKey": "", "useGlobalXaxisKey": True, "yAxisKey": "metric",
        "yAxisExpressions": []}  # fmt: skip
DIFFERENCE = {"type": "DIFFERENCE", "chartName": "What differs", "showChangeFromBaseline": True,
              "compareGroups": ["Parameters", "Model metrics"], "showDifferencesOnly": True,
              "baselineColumnUuid": ""}  # fmt: skip

Results = Mapping[str, tuple[str, str]]  # the key of each result with its curve and its direction


def page_of(experiment: str, run_id: str) -> str:
    """Return the address of a run's page, without the host, so that a description can link to it."""
    return f"#/experiments/{experiment}/runs/{run_id}?{MODE}"


def announce(client: MlflowClient, places: Mapping[str, str], width: int) -> None:
    """Print addresses with their names, and for a store without a server how to start one."""
    host = host_of(client)
    if not str(client.tracking_uri).startswith("http"):
        say(f"{'to view':<{width}}run make ui, then open:")
    for name, address in places.items():
        say(f"{name:<{width}}{host}/{address}")


def host_of(client: MlflowClient) -> str:
    """Return the address of the server, or where `make ui` serves a store that has none."""
    uri = str(client.tracking_uri)
    if not uri.startswith("http"):
        return LOCAL
    return re.sub(r"(?<=://).*@", "", uri).partition("?")[0].rstrip("/")


def announce_run(client: MlflowClient, run_id: str) -> None:
    """Print the addresses of a run's page and of the view of all runs, unless MLflow is away."""
    try:
        experiment = client.get_run(run_id).info.experiment_id
        places = {"run page": page_of(experiment, run_id), "compare": keep_all(client, experiment)}
    except MlflowException:
        return
    announce(client, places, width=20)


def start_page(client: MlflowClient) -> str:
    """Return the view of the newest run's experiment or, if there are no runs, the list of experiments."""
    newest = client.search_runs(experiment_ids(client), max_results=1)
    return keep_all(client, newest[0].info.experiment_id) if newest else f"#/experiments?{MODE}"


def keep_all(client: MlflowClient, experiment: str) -> str:
    """Write the view of all runs of an experiment, and return the address of its table."""
    newest = client.search_runs([experiment], IS_A_RUN, max_results=NEWEST)
    return _keep(client, experiment, ALL_RUNS, "All runs", of_experiment(newest))


def keep_sweep(
    client: MlflowClient, experiment: str, run_id: str, name: str, rows: Sequence[Row]
) -> dict[str, str]:
    """Write the view of a sweep; returns its addresses `table`, `charts` and, for few jobs, `compare`."""
    state = of_sweep(run_id, rows)
    table = _keep(client, experiment, f"{ALL_RUNS}-{run_id}", f"{name} ({run_id[:8]})", state)
    places = {"table": table, "charts": f"{table}&compareRunsMode=CHART"}
    ids = [row.run_id for row in rows if row.run_id]
    if 1 < len(ids) <= SIDE_BY_SIDE:
        runs, experiments = quote(json.dumps(ids)), quote(json.dumps([experiment]))
        places["compare"] = f"#/compare-runs?runs={runs}&experiments={experiments}&{MODE}"
    return places


def of_sweep(run_id: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the view of the jobs of a sweep, given by the id of its parent run."""
    seen = {key for row in rows for key in row.metrics}
    results = _results(((row.objective, row.direction) for row in rows), seen)
    varied = list(dict.fromkeys(key_of(key) for row in rows for key in row.differing))
    return _view(results, seen, varied, (), f"tags.`mlflow.parentRunId` = '{run_id}'")


def of_experiment(runs: Sequence[MlflowRun]) -> dict[str, Any]:
    """Return the view of all runs of an experiment; the newest ones decide what it shows."""
    params = [run.data.params for run in runs]
    seen = {key for run in runs for key in run.data.metrics}
    told = ((p["objective"], p.get("direction", "")) for p in params if "objective" in p)
    typed = dict.fromkeys(k.removeprefix(TYPED) for p in params for k in p if k.startswith(TYPED))
    varied = [k for k in typed if k not in NAMES and len({p.get(k) for p in params}) > 1]
    return _view(_results(told, seen), seen, varied, NAMES, IS_A_RUN)


def _results(told: Iterable[tuple[str, str]], seen: Collection[str]) -> Results:
    """Find the results from (objective, direction) of each run.

    If no run has a final score yet, its evaluation curve is shown instead.
    """
    found: dict[str, tuple[str, str]] = {}
    for objective, direction in told:
        final, curve = key_of(final_of(objective)), key_of(curve_of(objective))
        key = curve if curve in seen and final not in seen else final
        found[key] = (curve, found.get(key, ("", ""))[1] or direction)
    return found


def _view(
    results: Results, seen: Collection[str], varied: list[str], names: Sequence[str], chosen: str
) -> dict[str, Any]:
    """Return the state of a view, as the UI of MLflow 3.17 reads it.

    Args:
        results: the results to show, the first of which decides the order.
        seen: all metrics that the runs have.
        varied: parameters that differ between the runs.
        names: tags that get columns before the parameters.
        chosen: the filter.
    """
    columns = FIRST | {f"metrics.`{key}`": _width(key) for key in results}
    columns |= {f"tags.`expkit.{name}`": 100 for name in names}
    groups = {key.partition("/")[0] for key in results}
    others = [key for key in sorted({*seen} - {*results}) if key.partition("/")[0] in groups]
    scores = {key.partition("/")[2] for key in results}
    same = [k for k in sorted({*seen} - {*results, *others}) if k.partition("/")[2] in scores]
    others = [*(k for k in same if not k.startswith(("train/", "eval/", "eval."))), *others]
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
        "selectedColumns": list(columns)[1:-2],  # the UI always shows the others
        "columnOrder": list(columns),  # without an order, the UI ignores the widths
        "columnWidths": columns,
        **(orders[0] if orders else {}),
        "searchFilter": chosen,
        "runsHiddenMode": "SHOW_ALL",  # otherwise the charts show ten runs
        "isAccordionReordered": True,
        **_charts(results, seen, varied[:MOST_VARIED]),
    }


def _width(key: str) -> int:
    """Return the pixels that a column needs for its title, within limits."""
    return min(max(90, 8 * len(key)), 130)


def _charts(results: Results, seen: Collection[str], varied: Sequence[str]) -> dict[str, Any]:
    """Return a section of charts for each result, and one with the curves and what differs."""
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
    # The UI adds a chart for each metric that has none, unless that chart is marked as deleted.
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
    """Write a view unless it is there already, and return the address of its table.

    A server may refuse the view because it is too long, or because the user lacks the permission. In
    that case the address carries only the filter and the order, as there is no room for more.
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
