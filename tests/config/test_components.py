"""Metrics that cannot be refused are made when they are needed; all others at once."""

import pytest
from omegaconf import OmegaConf

from expkit.config import components
from expkit.config.components import Metrics
from expkit.terminal.errors import UserError

ACCURACY = {"_target_": "expkit.metrics.classification.Accuracy"}
SEQEVAL = {"_target_": "expkit.metrics.tagging.SeqEval"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that were made, in order."""
    targets: list[str] = []
    instantiate = components.instantiate

    def recorded(node: dict[str, str], **kwargs: object) -> object:
        targets.append(node["_target_"].rpartition(".")[2])
        return instantiate(node, **kwargs)

    monkeypatch.setattr(components, "instantiate", recorded)
    return targets


def test_a_metric_without_settings_is_made_when_it_is_first_used(made: list[str]) -> None:
    metrics = Metrics(OmegaConf.create({"accuracy": ACCURACY, "seqeval": SEQEVAL}))
    assert list(metrics) == ["accuracy", "seqeval"]
    assert made == []
    scores = metrics["accuracy"].compute(predictions=[0, 1], references=[1, 1])
    assert scores == {"accuracy": 0.5}
    assert metrics["accuracy"] is metrics["accuracy"]
    assert made == ["Accuracy"]


def test_settings_are_refused_before_training() -> None:
    nodes = OmegaConf.create({"seqeval": {**SEQEVAL, "names": ["f2"]}})
    with pytest.raises(UserError, match="'f2' is no score of seqeval"):
        Metrics(nodes)


def test_a_metric_of_the_users_own_is_made_at_once(made: list[str]) -> None:
    Metrics(OmegaConf.create({"own": {"_target_": "collections.Counter"}}))
    assert made == ["Counter"]
