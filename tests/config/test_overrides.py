"""What was typed stays as it was typed."""

import pytest
from omegaconf import OmegaConf

from conftest import Command
from expkit.config.texts import as_typed

TYPED = ["train.max_steps=${train.epochs}", "+x=${x}", "run_name=${oc.env:NO_SUCH_VARIABLE}"]


def test_interpolations_are_not_looked_up() -> None:
    assert as_typed(OmegaConf.create(TYPED)) == TYPED


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (TYPED[0], "train.batch_size=0: must be at least 1"),
        (TYPED[1], "x: Recursive interpolation"),
        (TYPED[2], "run_name: KeyError raised while resolving interpolation"),
        (
            "hydra.run.dir=${nothing.here}",
            "hydra.run.dir: Interpolation key 'nothing.here' not found",
        ),
    ],
)
def test_a_command_with_an_interpolation(override: str, message: str, expkit: Command) -> None:
    """Whether it can be resolved or not, there is one message."""
    done = expkit(override, "train.batch_size=0")
    assert done.returncode == 2
    assert done.stderr.startswith(f"expkit: {message}")
    assert len(done.stderr.splitlines()) == 1
