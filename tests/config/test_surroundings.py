"""What libraries read from the environment changes no result: it is set by expkit, or refused."""

import pytest

from conftest import TINY, composed
from expkit.config.checks import check
from expkit.config.surroundings import REFUSED
from expkit.terminal.errors import ConfigError


@pytest.mark.parametrize("name", REFUSED)
def test_a_variable_that_changes_the_result_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("", "0", "no", "False", "NO"):
        monkeypatch.setenv(name, value)
        check(composed(), [])
    monkeypatch.setenv(name, "true")
    with pytest.raises(ConfigError, match=f"{name}=true in the environment.*unset {name}"):
        check(composed(), [])


def trained(backend: str) -> list[float]:
    """All weights after two steps."""
    from accelerate.state import AcceleratorState, GradientState

    from expkit.experiment import prepare

    cfg = composed(*TINY, f"backend={backend}", "train.max_steps=2", "lora=none", "optimizer=sgd")
    check(cfg, [])
    prepared = prepare(cfg)
    prepared.backend.fit(prepared.training, lambda _: False)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    weights = prepared.training.model.state_dict().values()
    return [number for tensor in weights for number in tensor.flatten().tolist()]


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_the_environment_does_not_train(
    backend: str, project: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(backend)
    variables = {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "ACCELERATE_DOWNCAST_BF16": "true",
        "ACCELERATE_USE_CPU": "true",
        "WORLD_SIZE": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert trained(backend) == expected
