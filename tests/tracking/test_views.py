"""Views that the MLflow UI keeps, and the addresses that open them."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from expkit.tracking import store, views
from expkit.tracking.note import Row

NAN = float("nan")


def job(number: int, value: float | None = 0.5, **changed: Any) -> Row:
    metrics = {
        "final/f1": NAN if value is None else value,
        "final/accuracy": 0.5,
        "train/loss": 1.0,
    }
    given: dict[str, Any] = {
        "name": f"seed={number}",
        "differing": {"optimizer": "adamw", "seed": str(number)},
        "state": "FINISHED",
        "objective": "eval/f1",
        "direction": "maximize",
        "value": value,
        "run_id": f"{number}" * 32,
        "metrics": metrics,
    }
    return Row(**given | changed)


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return store.connect(None)


def opened(client: MlflowClient, experiment: str, key: str) -> dict[str, Any]:
    """The state of a view, decoded as the UI does."""
    envelope = json.loads(client.get_experiment(experiment).tags[f"mlflow.sharedViewState.{key}"])
    assert {type(envelope[name]) for name in ("createdAt", "updatedAt")} == {int}
    packed = envelope["state"].removeprefix("deflate;")
    assert packed != envelope["state"]
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert isinstance(state, dict)
    return state | {"name": envelope["name"]}


def charts(state: dict[str, Any], kind: str, deleted: bool = False) -> list[dict[str, Any]]:
    found = [c for c in state["compareRunCharts"] if c["type"] == kind and c["deleted"] == deleted]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in found} <= sections
    return found


def test_the_view_of_a_sweep_shows_its_jobs_by_their_objective(client: MlflowClient) -> None:
    experiment = client.create_experiment("x")
    places = views.keep_sweep(client, experiment, "f" * 32, "sweep: seed", [job(1), job(2, 0.75)])
    key = f"expkit-{'f' * 32}"
    table = f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={key}"
    assert places["table"] == table
    assert places["charts"] == f"{table}&compareRunsMode=CHART"
    state = opened(client, experiment, key)
    assert state["name"] == "sweep: seed (ffffffff)"
    assert state["searchFilter"] == f"tags.`mlflow.parentRunId` = '{'f' * 32}'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`final/f1`", False)
    assert state["selectedColumns"] == [
        "metrics.`final/f1`",
        "params.`optimizer`",
        "params.`seed`",
        "metrics.`final/accuracy`",
        "tags.`expkit.error`",
    ]
    assert state["columnOrder"] == [
        "attributes.`Run Name`",
        *state["selectedColumns"],
        "duration",
        "runDateAndNestInfo",
    ]
    assert state["columnWidths"].keys() == set(state["columnOrder"])
    assert [s["name"] for s in state["compareRunSections"]] == [
        "final/f1 (higher is better)",
        "Curves",
    ]
    assert [c["metricKey"] for c in charts(state, "BAR")] == ["final/f1"]
    (parallel,) = charts(state, "PARALLEL")
    assert parallel["selectedParams"] == ["optimizer", "seed"]
    assert parallel["selectedMetrics"] == ["final/f1"]
    curves = charts(state, "LINE")
    assert [c["selectedMetricKeys"] for c in curves] == [["train/loss", "eval/loss"], ["eval/f1"]]
    assert {c["lineSmoothness"] for c in curves} == {0}
    assert [c["metricKey"] for c in charts(state, "BAR", deleted=True)] == ["final/accuracy"]
    numbers = [c["uuid"] for c in state["compareRunCharts"]]
    assert len(set(numbers)) == len(numbers)


def test_few_jobs_have_an_address_that_compares_them(client: MlflowClient) -> None:
    experiment = client.create_experiment("x")

    def address(*rows: Row) -> str | None:
        return views.keep_sweep(client, experiment, "f", "s", rows).get("compare")

    found = address(job(1), job(2), job(3, run_id=""))
    assert found is not None
    query = parse_qs(found.partition("?")[2])
    assert found.startswith("#/compare-runs?")
    assert json.loads(query["runs"][0]) == ["1" * 32, "2" * 32]
    assert json.loads(query["experiments"][0]) == [experiment]
    assert query["workflowType"] == ["machine_learning"]
    assert address(job(1)) is None
    assert address(*(job(n) for n in range(11))) is None


@pytest.mark.parametrize(
    ("rows", "order", "names"),
    [
        ([job(1, None, state="FAILED")], ("final/f1", False), ["final/f1 (higher is better)"]),
        ([job(1, None, state="NOT STARTED", metrics={}, direction="")], ("final/f1", False), ["final/f1"]),
        (
            [job(1, objective="eval/loss", direction="minimize", metrics={"final/loss": 0.5})],
            ("final/loss", True),
            ["final/loss (lower is better)"],
        ),
        # logged before there was a final/
        ([job(1, metrics={"eval/f1": 0.5, "eval/loss": 1.0})], ("eval/f1", False), ["eval/f1 (higher is better)"]),
        (
            [
                job(1, objective="eval/perplexity", direction="", metrics={}, state="NOT STARTED"),
                job(2, objective="eval/perplexity", direction="minimize", metrics={"final/perplexity": 9.0}),
                job(3),
            ],
            ("final/perplexity", True),
            ["final/perplexity (lower is better)", "final/f1 (higher is better)"],
        ),
        (
            [job(1, objective="eval/f1_A&B", metrics={"final/f1_A_x0026_B": 0.5})],
            ("final/f1_A_x0026_B", False),
            ["final/f1_A_x0026_B (higher is better)"],
        ),
    ],
    ids=["failed", "not started", "less is better", "old runs", "mixed", "odd name"],
)  # fmt: skip
def test_the_objective_orders_the_jobs_in_its_direction(
    rows: list[Row], order: tuple[str, bool], names: list[str]
) -> None:
    state = views.of_sweep("f" * 32, rows)
    assert (state["orderByKey"], state["orderByAsc"]) == (f"metrics.`{order[0]}`", order[1])
    assert [s["name"] for s in state["compareRunSections"]] == [*names, "Curves"]
    shown = [f"metrics.`{name.partition(' ')[0]}`" for name in names]
    assert state["selectedColumns"][: len(names)] == shown


def test_a_further_set_that_decides_has_its_own_curve_and_orders_the_jobs() -> None:
    metrics = {
        "june/f1": 0.5,
        "june/loss": 1.0,
        "eval.june/f1": 0.4,
        "eval/f1": 0.3,
        "test/f1": 0.2,
    }
    state = views.of_sweep("f", [job(1, objective="june/f1", metrics=metrics)])
    assert state["orderByKey"] == "metrics.`june/f1`"
    columns = [column for column in state["selectedColumns"] if column.startswith("metrics.")]
    assert columns == ["metrics.`june/f1`", "metrics.`test/f1`", "metrics.`june/loss`"]
    curves = [c["selectedMetricKeys"] for c in charts(state, "LINE")]
    assert curves == [["train/loss", "eval/loss"], ["eval.june/f1"]]


def test_a_curve_that_is_the_loss_is_drawn_once() -> None:
    state = views.of_sweep("f", [job(1, objective="eval/loss", direction="minimize")])
    assert [c["selectedMetricKeys"] for c in charts(state, "LINE")] == [["train/loss", "eval/loss"]]


def test_columns_end_where_the_window_does() -> None:
    of_types = {f"final/f1_type{n:02}": 0.5 for n in range(40)}
    differing = {f"train.key{n}": "1" for n in range(9)}
    state = views.of_sweep("f", [job(1, metrics=of_types | {"final/f1": 0.5}, differing=differing)])
    assert sum(state["columnWidths"].values()) <= views.TABLE_WIDTH
    assert state["selectedColumns"][-1] == "tags.`expkit.error`"
    assert len(charts(state, "PARALLEL")[0]["selectedParams"]) == views.MOST_VARIED
    assert {c["metricKey"] for c in charts(state, "BAR", deleted=True)} == set(of_types)


def test_without_anything_that_differs_there_are_no_parallel_coordinates() -> None:
    assert not charts(views.of_sweep("f", [job(1, differing={})]), "PARALLEL")


def a_run(client: MlflowClient, experiment: str, params: dict[str, str], **metrics: float) -> str:
    run_id = str(client.create_run(experiment).info.run_id)
    for key, value in ({"task._target_": "a.Task", "direction": "maximize"} | params).items():
        client.log_param(run_id, key, value)
    for name, value in metrics.items():
        client.log_metric(run_id, f"final/{name}", value)
    client.set_terminated(run_id)
    return run_id


def test_the_view_of_an_experiment_shows_all_runs_by_the_objective_of_the_newest(
    client: MlflowClient,
) -> None:
    experiment = client.create_experiment("x")
    sweep = client.create_run(experiment).info.run_id
    client.log_param(sweep, "objective", "eval/f1,eval/loss")  # as it was typed
    typed = {"Typed.seed": "1", "Typed.task": "ner", "task": "ner", "seed": "1"}
    a_run(client, experiment, {"objective": "eval/f1", "seed": "42"}, f1=0.5, accuracy=0.75)
    a_run(client, experiment, {"objective": "eval/f1", **typed}, f1=NAN)
    of_loss = {"objective": "eval/loss", "direction": "minimize"}
    a_run(client, experiment, {**of_loss, "seed": "42"}, loss=9.0)
    address = views.keep_all(client, experiment)
    assert address.endswith("/runs?workflowType=machine_learning&viewStateShareKey=expkit")
    state = opened(client, experiment, "expkit")
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`final/loss`", True)
    assert state["selectedColumns"][:6] == [
        "metrics.`final/loss`",
        "metrics.`final/f1`",
        "tags.`expkit.task`",
        "tags.`expkit.model`",
        "tags.`expkit.data`",
        "params.`seed`",
    ]
    listed = client.search_runs([experiment], state["searchFilter"])
    assert len(listed) == 3
    assert sweep not in {run.info.run_id for run in listed}


def test_a_view_is_written_only_if_it_has_changed(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client.create_experiment("x")
    written = []
    keep = client.set_experiment_tag

    def noted(*given: str) -> None:
        written.append(given)
        keep(*given)

    monkeypatch.setattr(client, "set_experiment_tag", noted)
    for _ in range(2):
        a_run(client, experiment, {"objective": "eval/f1"}, f1=0.5)
        views.keep_all(client, experiment)
    assert len(written) == 1
    a_run(client, experiment, {"objective": "eval/f1"}, recall=0.5)
    views.keep_all(client, experiment)
    assert len(written) == 2


def test_only_the_newest_sweeps_keep_their_views(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client.create_experiment("x")
    clock = iter(range(1000, 2000))
    monkeypatch.setattr(views.time, "time", lambda: next(clock))
    views.keep_all(client, experiment)
    client.set_experiment_tag(experiment, "mlflow.sharedViewState.abc", "somebody's own")
    for number in range(views.KEPT_SWEEPS + 3):
        views.keep_sweep(client, experiment, f"{number:02}", "s", [job(number)])
    kept = {key.rpartition(".")[2] for key in client.get_experiment(experiment).tags}
    sweeps = {f"expkit-{number:02}" for number in range(3, views.KEPT_SWEEPS + 3)}
    assert kept == sweeps | {"expkit", "abc"}


class Strict(MlflowClient):
    """Of a server that takes no tag longer than 5000 characters, as older ones do."""

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        if len(value) > 5000:
            raise MlflowException("'value' exceeds the maximum length of 5000 characters")
        super().set_experiment_tag(experiment_id, key, value)


def test_where_a_view_is_refused_the_address_has_its_filter_and_order(client: MlflowClient) -> None:
    strict = Strict(client.tracking_uri)
    experiment = client.create_experiment("x")
    # Names that do not compress.
    many = {f"final/{base64.b32encode(bytes([n, 7 * n % 256] * 9)).decode()[:26]}{n}": 0.5 for n in range(200)}  # fmt: skip
    rows = [job(1, metrics=many | {"final/f1": 0.5}), job(2)]
    places = views.keep_sweep(strict, experiment, "f" * 32, "s", rows)
    assert not client.get_experiment(experiment).tags
    assert "viewStateShareKey" not in places["table"]
    query = parse_qs(places["table"].partition("?")[2])
    assert query == {
        "workflowType": ["machine_learning"],
        "searchFilter": [f"tags.`mlflow.parentRunId` = '{'f' * 32}'"],
        "orderByKey": ["metrics.`final/f1`"],
        "orderByAsc": ["false"],
    }
    assert places["charts"] == f"{places['table']}&compareRunsMode=CHART"
    assert re.fullmatch(r"[\w#/?&=%.-]+", places["table"])  # a terminal takes all of it for a link
    short = views.keep_sweep(strict, experiment, "a" * 32, "s", [job(1)])
    assert "viewStateShareKey" in short["table"]


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://host:5000", "http://host:5000/#/x"),
        ("https://me:se/cret@host/mlflow/", "https://host/mlflow/#/x"),
        ("sqlite:////tmp/a.db", "http://127.0.0.1:5000/#/x"),
        ("postgresql://me:secret@host/db", "http://127.0.0.1:5000/#/x"),
    ],
)
def test_addresses_are_those_of_the_server_or_of_make_ui(
    uri: str, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Client:
        tracking_uri = uri

    views.announce(Client(), {"page": "#/x"}, width=8)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert f"page    {host}\n" in said
    assert ("make ui" in said) == (not uri.startswith("http"))
    assert "cret" not in said


def test_the_end_of_a_run_names_its_page_and_the_view_of_all(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = client.create_experiment("x")
    run_id = a_run(client, experiment, {"objective": "eval/f1"}, f1=0.5)
    views.announce_run(client, run_id)
    said = unquote(capsys.readouterr().out)
    page = f"http://127.0.0.1:5000/#/experiments/{experiment}"
    assert f"run page            {page}/runs/{run_id}?workflowType=machine_learning" in said
    assert f"compare             {page}/runs?workflowType=machine_learning&viewStateShareKey=expkit" in said  # fmt: skip
    assert opened(client, experiment, "expkit")["orderByKey"] == "metrics.`final/f1`"
    views.announce_run(client, "0" * 32)  # MLflow does not know it, or is away
    assert capsys.readouterr().out == ""


def test_the_ui_opens_on_the_experiment_that_was_used_last(client: MlflowClient) -> None:
    assert views.start_page(client) == "#/experiments?workflowType=machine_learning"
    for name in ("x", "y"):
        client.create_experiment(name)
    x, y = (client.get_experiment_by_name(name).experiment_id for name in ("x", "y"))
    a_run(client, y, {"objective": "eval/f1"})
    last = client.create_run(x, start_time=2**42).info.run_id
    client.set_terminated(last)
    assert views.start_page(client).startswith(f"#/experiments/{x}/runs?")
