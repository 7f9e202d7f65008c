"""The loss scale of fp16, which has to be kept with the weights."""

from collections.abc import Mapping
from typing import Any

from torch.amp import GradScaler


class LossScale:
    """Stands for the scaler that a backend makes, before and after it exists."""

    def __init__(self) -> None:
        self._scaler: GradScaler | None = None
        self._state: dict[str, Any] = {}

    def attach(self, scaler: GradScaler | None) -> None:
        """Called by a backend before the first step, with None if its precision needs no scaler."""
        self._scaler = scaler
        if scaler is not None and self._state:
            scaler.load_state_dict(self._state)

    def state_dict(self) -> dict[str, Any]:
        """Numbers; empty without a scaler."""
        return self._scaler.state_dict() if self._scaler is not None else dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What the next scaler that is attached begins with."""
        self._state = dict(state)
