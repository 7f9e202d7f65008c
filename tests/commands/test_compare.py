"""`expkit.compare` on runs in a store: which runs it takes, what it prints and writes."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from expkit.commands import main
from expkit.processes.exits import FAILED
from expkit.terminal.display import console
from expkit.tracking.past import ERROR, FINGERPRINT, KIND, SWEEP
from expkit.tracking.store import connect, experiment_id

MakeRun = Callable[..., str]
Printed = Callable[..., str]
ERROR_TEXT = "train/loss is nan at step 5 of 100: training has diverged; try a smaller optimizer.lr"


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return connect(None)


@pytest.fixture
def make_run(client: MlflowClient) -> MakeRun:
    """Write a run as a job would; returns its id."""

    def make(
        name: str,
        params: dict[str, str],
        metrics: dict[str, float],
        state: str = "FINISHED",
        sweep: str = "",
        **tags: str,
    ) -> str:
        own = {FINGERPRINT: f"{sorted(params.items())}", **({SWEEP: sweep} if sweep else {})}
        run = client.create_run(
            experiment_id(client, "expkit"), run_name=name, tags={**own, **tags}
        )
        whole = {
            "objective": "eval/f1",
            "direction": "maximize",
            "task._target_": "expkit.Text",
            **params,
        }
        for key, value in whole.items():
            client.log_param(run.info.run_id, key, value)
        for key, number in metrics.items():
            client.log_metric(run.info.run_id, key, number)
        client.set_terminated(run.info.run_id, state)
        return str(run.info.run_id)

    return make


@pytest.fixture
def printed(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Printed:
    """What the command prints on a terminal of 80 columns."""
    monkeypatch.setattr(console, "width", 80)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main("compare", arguments)
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80, text
        return text

    return run


def parent(client: MlflowClient, name: str = "sweep optimizer") -> str:
    run = client.create_run(experiment_id(client, "expkit"), run_name=name, tags={KIND: "sweep"})
    return str(run.info.run_id)


def fill(make_run: MakeRun, sweep: str) -> dict[str, str]:
    """Two optimizers with two seeds, of which one failed, and one that was killed."""
    ids = {}
    for optimizer, seed, f1 in (("AdamW", 1, 0.8), ("AdamW", 2, 0.9), ("SGD", 1, 0.5)):
        name = f"optimizer={optimizer.lower()} seed={seed}"
        params = {"optimizer._target_": f"torch.optim.{optimizer}", "seed": str(seed)}
        metrics = {f"eval/{m}": f1 for m in ("f1", "accuracy", "matthews", "precision")}
        ids[name] = make_run(name, params, metrics | {"train/loss": 1.0}, sweep=sweep)
    params = {"optimizer._target_": "torch.optim.SGD", "seed": "2"}
    tags = {ERROR: ERROR_TEXT}
    ids["failed"] = make_run("optimizer=sgd seed=2", params, {}, "FAILED", sweep, **tags)
    params = {"optimizer._target_": "torch.optim.SGD", "seed": "3"}
    ids["killed"] = make_run("optimizer=sgd seed=3", params, {"eval/f1": 0.1}, "KILLED", sweep)
    return ids


def cells(text: str) -> list[list[str]]:
    rows = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_last_sweep_with_what_failed(
    client: MlflowClient, make_run: MakeRun, printed: Printed
) -> None:
    fill(make_run, parent(client, "sweep before"))
    sweep = parent(client)
    ids = fill(make_run, sweep)
    text = printed()
    assert f"sweep optimizer ({sweep[:8]})" in text
    assert [row[:2] for row in cells(text)] == [
        ["AdamW", "0.8500 ± 0.0707*"],
        ["SGD", "0.5000"],
    ]
    assert cells(text)[0][-2:] == ["2", ids["optimizer=adamw seed=2"][:8]]
    flat = " ".join(text.split())
    assert f"failed: optimizer=sgd seed=2: {ERROR_TEXT} (run {ids['failed']})" in flat
    assert f"killed: optimizer=sgd seed=3 (run {ids['killed']})" in flat
    assert "not shown for want of room: " in flat


def test_runs_and_sweeps_by_the_first_characters(
    client: MlflowClient, make_run: MakeRun, printed: Printed
) -> None:
    sweep = parent(client)
    fill(make_run, sweep)
    metrics = {"eval/f1": 0.95}
    alone = make_run("by hand", {"optimizer._target_": "my.Own", "seed": "1"}, metrics)
    rows = cells(printed(sweep[:12], alone[:12], "--metrics", "f1"))
    assert [row[:2] for row in rows] == [
        ["Own", "0.9500*"],
        ["AdamW", "0.8500 ± 0.0707"],
        ["SGD", "0.5000"],
    ]


def test_the_table_of_a_finished_sweep_has_jobs_of_others_and_those_not_started(
    client: MlflowClient, make_run: MakeRun, printed: Printed
) -> None:
    before = make_run("by hand", {"optimizer.lr": "1"}, {"eval/f1": 0.5})
    sweep = parent(client)
    make_run("lr=2", {"optimizer.lr": "2"}, {"eval/f1": 0.6}, sweep=sweep)
    columns = {
        "job": ["lr=1", "lr=2", "lr=3"],
        "optimizer.lr": ["1", "2", "3"],
        "state": ["FINISHED", "FINISHED", "NOT STARTED"],
        "objective": ["eval/f1"] * 3,
        "run": [before, "whatever", ""],
        "error": ["", "", "was not started"],
    }
    client.log_table(sweep, columns, "sweep/jobs.json")
    text = printed()
    assert [row[:2] for row in cells(text)] == [["2", "0.6000*"], ["1", "0.5000"]]
    assert "not started: lr=3: was not started" in text


def test_files(client: MlflowClient, make_run: MakeRun, printed: Printed, project: Path) -> None:
    fill(make_run, parent(client))
    printed(
        "--csv", "t.csv", "--markdown", "t.md", "--plot", "t.svg", "--metrics", "accuracy", "f1"
    )
    with (project / "t.csv").open() as stream:
        adamw, sgd, failed, killed = csv.DictReader(stream)
    assert (adamw["optimizer._target_"], adamw["n"]) == ("AdamW", "2")
    assert float(adamw["final/f1"]) == pytest.approx(0.85)
    assert float(adamw["final/f1 sd"]) == pytest.approx(0.0707107, rel=1e-5)
    assert (sgd["final/f1"], sgd["final/f1 sd"]) == ("0.5", "")
    assert (failed["state"], failed["error"], failed["final/f1"]) == ("FAILED", ERROR_TEXT, "")
    assert killed["state"] == "KILLED"
    lines = (project / "t.md").read_text().splitlines()
    assert lines[0] == "| optimizer | accuracy | f1 | n | run |"
    assert lines[2].startswith("| **AdamW** | **0.8500 ± 0.0707** |")
    assert "<svg" in (project / "t.svg").read_text()


def test_jobs_with_different_metrics(
    client: MlflowClient, make_run: MakeRun, printed: Printed, project: Path
) -> None:
    sweep = parent(client, "sweep task")
    text = {"task._target_": "expkit.tasks.Text", "model.path": "minilm"}
    blocks = {"task._target_": "expkit.tasks.MaskedLM", "objective": "eval/perplexity"}
    blocks["direction"] = "minimize"
    make_run("task=text", text, {"eval/f1": 0.5, "eval/loss": 0.1}, sweep=sweep)
    make_run("task=masked_lm", blocks, {"eval/perplexity": 1234.5, "eval/loss": 7.1}, sweep=sweep)
    rows = cells(printed("--plot", "t.png", "--csv", "t.csv"))
    assert [row[:3] for row in rows] == [["Text", "0.5000", ""], ["MaskedLM", "", "1234.50"]]
    assert (project / "t.png").stat().st_size > 0


def test_many_long_parameters_stay_within_the_terminal(
    client: MlflowClient, make_run: MakeRun, printed: Printed
) -> None:
    sweep = parent(client)
    for i in range(3):
        params = {f"optimizer.some_long_name_{n}": f"{i} " + "value" * 12 for n in range(6)}
        make_run(f"job {i}", params, {"eval/f1": i / 10}, sweep=sweep)
    printed()


# name: (arguments, what the message must say)
BAD = {
    "no sweep": ((), "there is no sweep yet"),
    "no such run": (("abc",), "run 'abc': no such run; the latest: "),
    "no such metric": (("{run}", "--metrics", "f2"), "--metrics f2: no such metric; allowed: f1"),
    "no such picture": (("{run}", "--plot", "a.txt"), "--plot a.txt: unknown kind of file"),
    "no such folder": (("{run}", "--csv", "none/a.csv"), "none/a.csv: No such file or directory"),
    "no outcomes": (("{run}", "{other}"), "run {run}: has logged no outcomes of validation"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=list(BAD))
def test_bad_input_is_one_message(
    arguments: tuple[str, ...],
    message: str,
    make_run: MakeRun,
    client: MlflowClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ids = {
        name: make_run(name, {"seed": name}, {"eval/f1": 0.5}, **{"mlflow.note": name})
        for name in ("run", "other")
    }
    for run_id in ids.values():
        client.log_text(run_id, "task: {metrics: {}}", "run.yaml")
    with pytest.raises(SystemExit) as raised:
        main("compare", [argument.format(**ids) for argument in arguments])
    assert raised.value.code == FAILED
    assert capsys.readouterr().err.startswith(f"expkit.compare: {message.format(**ids)}")
