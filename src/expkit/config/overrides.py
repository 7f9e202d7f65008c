"""What was typed on the command line, as Hydra keeps it."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf


def as_typed(overrides: Sequence[str]) -> list[str]:
    """`hydra.overrides.task` as texts.

    Iterating over it would resolve an interpolation that was typed as if it stood in the list, where
    its key means something else or nothing.
    """
    plain: Any = OmegaConf.to_container(overrides, resolve=False)  # it is a ListConfig
    return list(map(str, plain))
