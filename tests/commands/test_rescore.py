"""`expkit.rescore`: a finished run gets a metric, from its outcomes, as if it had been trained with it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from conftest import SMALL_TASKS, Command, only_run, runs_of
from expkit.commands import rescore
from expkit.terminal.errors import ConfigError, UserError
from expkit.tracking.logged import logged_run

SCIKIT = "expkit.metrics.scikit.Scikit"
KAPPA = ("function=sklearn.metrics.cohen_kappa_score", "settings.weights=quadratic")
KAPPA_SETTINGS = {"function": "sklearn.metrics.cohen_kappa_score"}
OWN = """
import datasets
from expkit.metrics.local import CONFIDENCES, LocalMetric

class Whole(LocalMetric):
    score_name = ""
    takes = datasets.Features({k: datasets.Sequence(datasets.Value("string")) for k in ("predictions", "references")})
    def _compute(self, predictions, references):
        return {self.score_name: sum(p == r for p, r in zip(predictions, references)) / 7}

class Sure(LocalMetric):
    score_name = ""
    needs = CONFIDENCES
    takes = datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")})
    def _compute(self, predictions, references):
        return {self.score_name: sum(p for _, p in predictions) / 3}
"""


def trained(expkit: Command, *options: str) -> None:
    done = expkit(*options, "train.max_steps=2", "eval.batch_size=7")
    assert done.returncode == 0, done.stderr


def rescored(run_id: str, *metrics: Sequence[str], trust: Sequence[str] = ()) -> None:
    words = [word for metric in metrics for word in ("--metric", *metric)]
    trusted = ["--trust", *trust] if trust else []
    rescore.run(rescore.parser().parse_args([run_id, *words, *trusted]))


def test_a_metric_gives_what_it_would_have_given_from_the_start(
    project: Path, expkit: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else changes; what cannot be added is refused."""
    first = f"{{_target_: {SCIKIT}, function: sklearn.metrics.cohen_kappa_score, settings: {{weights: quadratic}}}}"
    options = [o for o in SMALL_TASKS["text_classification"] if not o.startswith("data.sizes.test")]
    trained(expkit, *options, "data.sizes.test=16", f"+task.metrics.first={first}")
    before = only_run(project)
    run_id, metrics = before.info.run_id, before.data.metrics
    rescored(
        run_id[:8],
        (f"later={SCIKIT}", *KAPPA),
        (f"hinge={SCIKIT}", "function=sklearn.metrics.hamming_loss"),
    )
    after = only_run(project).data.metrics
    for group in ("final", "test"):
        assert after[f"{group}/later"] == metrics[f"{group}/first"]
        assert after[f"{group}/hinge"] == pytest.approx(1 - metrics[f"{group}/accuracy"])
    assert {key: after[key] for key in metrics} == metrics
    assert len(after) == len(metrics) + 4

    # What reads the outcomes later knows the metrics.
    logged = logged_run(run_id)
    assert logged.metrics()["later"] == {**logged.metrics()["first"]}
    assert "later" in logged.config.task.metrics
    labels, confidences = logged.outcomes("validation") or []
    assert [*labels.metrics] == ["accuracy", "f1", "matthews", "first", "later", "hinge"]
    assert [*confidences.metrics] == ["ece"]

    # The second time there is nothing to do.
    capsys.readouterr()
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    rescored(run_id, (f"later={SCIKIT}", *KAPPA))
    assert "has these metrics already" in capsys.readouterr().out
    assert len(client.get_metric_history(run_id, "final/later")) == 1

    client.log_metric(run_id, "final/taken", 5.0)
    after = only_run(project).data.metrics
    for name, settings, message in (
        ("later", {}, r"run \w+: has task.metrics.later=.*rename yours"),
        ("taken", KAPPA_SETTINGS, r"run \w+: has final/taken=5.0, and taken gives "),
        (
            "p",
            {"scorer": "neg_log_loss"},
            "p needs probabilities, but the run keeps labels and conf",
        ),
        ("g", {"function": "sklearn.metrics.mean_gamma_deviance"}, r"g does not fit: .* labels"),
    ):
        nodes = {name: {"_target_": SCIKIT, **settings}}
        with pytest.raises(UserError, match=message):
            rescore.rescore(logged_run(run_id), nodes, frozenset())
    assert only_run(project).data.metrics == after
    client.set_terminated(run_id, "KILLED")
    with pytest.raises(UserError, match=r"has no final scores .*state KILLED"):
        rescore.rescore(logged_run(run_id), {}, frozenset())


@pytest.mark.slow
def test_metrics_of_words_and_own_metrics(
    project: Path, expkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was cut off while its scores were logged is completed by the same command."""
    (project / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(project)
    own = [f"+task.metrics.{n.lower()}={{_target_: mine.{n}}}" for n in ("Whole", "Sure")]
    trained(expkit, *SMALL_TASKS["token_classification"], *own, "trusted_modules=[mine]")
    before = only_run(project)
    run_id, metrics = before.info.run_id, before.data.metrics
    given = (("whole2=mine.Whole",), ("sure2=mine.Sure",))
    with pytest.raises(UserError, match=r"'mine' is not trusted; .*--trust mine"):
        rescored(run_id, *given)
    log_batch = MlflowClient.log_batch

    def cut_off(self: MlflowClient, run_id: str, metrics: object = (), **rest: object) -> None:
        log_batch(self, run_id, metrics[:1])  # type: ignore[index]
        raise MlflowException("is away")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", cut_off)
        with pytest.raises(UserError, match=r"is away.*the same command goes on"):
            rescored(run_id, *given, trust=["mine"])
    assert "whole2" not in logged_run(run_id).metrics()
    rescored(run_id, *given, trust=["mine"])
    after = only_run(project).data.metrics
    assert after["final/whole2"] == metrics["final/whole"]
    assert after["final/sure2"] == metrics["final/sure"]
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    assert len(client.get_metric_history(run_id, "final/whole2")) == 1


@pytest.mark.slow
def test_a_sweep_is_rescored_and_compared(project: Path, expkit: Command) -> None:
    """Two runs that got a metric later are compared by it; a run that keeps nothing is named at the end."""
    done = expkit("-m", *SMALL_TASKS["text_classification"], "train.max_steps=2", "seed=1,2")
    assert done.returncode == 0, done.stderr
    sweep = next(r for r in runs_of(project) if r.data.tags.get("mlflow.expkit.kind") == "sweep")
    jobs = [run for run in runs_of(project) if "objective" in run.data.params]
    metric = ("--metric", f"kappa={SCIKIT}", *KAPPA)
    for run in jobs[:1]:
        rescored(run.info.run_id, metric[1:])
    done = expkit(sweep.info.run_id, *metric, module="expkit.rescore")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has these metrics already") == 1
    assert done.stdout.count("final/kappa") == 1
    done = expkit(*(run.info.run_id for run in jobs), "--metrics", "kappa", module="expkit.compare")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kappa") >= 2, "in the table, and in the bootstrap"

    kept = logged_run(jobs[0].info.run_id).artifact("eval/outcomes.json.gz")
    assert kept
    kept.unlink()
    words = ("--metric", f"more={SCIKIT}", KAPPA[0])
    done = expkit(sweep.info.run_id, *words, module="expkit.rescore")
    assert done.returncode == 1
    assert done.stderr == (
        f"expkit.rescore: run {jobs[0].info.run_id}: keeps no outcomes of validation; train it with the metric\n"
    )
    assert "final/more" in logged_run(jobs[1].info.run_id).run.data.metrics


def test_settings_are_those_of_a_run(project: Path) -> None:
    given = [[f"a={SCIKIT}", "function=sklearn.metrics.fbeta_score", "settings={beta: 2}"]]
    assert rescore._settings(given, []) == {
        "a": {
            "_target_": SCIKIT,
            "function": "sklearn.metrics.fbeta_score",
            "settings": {"beta": 2},
        }
    }
    for wrong, message in {
        ("a=os.system",): "'os' is not trusted",
        (f"a={SCIKIT}", "scorre=x"): r"task.metrics.a.scorre='x': .* did you mean 'scorer'",
        ("a", *KAPPA): "--metric a: expected NAME=CLASS KEY=VALUE",
        ("task.metrics.a=b.C",): "--metric task.metrics.a=b.C: expected NAME=CLASS",
    }.items():
        with pytest.raises(ConfigError, match=message):
            rescore._settings([wrong], [])
    with pytest.raises(ConfigError, match=r"task\.metrics\.a"):
        rescore._settings([*given, *given], [])
