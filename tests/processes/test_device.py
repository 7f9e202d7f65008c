"""The device of a process, and what depends on it, where there is an Apple GPU; none of it runs on one here."""

import pytest
import torch

from expkit.processes.group import device
from expkit.terminal.errors import UserError
from expkit.training.precision import has_fast_bf16, require


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that finds MPS, on a processor that would multiply bf16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)


@pytest.mark.usefixtures("mac")
def test_one_process_takes_mps_and_several_take_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device().type == "mps"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert device().type == "cpu"


@pytest.mark.usefixtures("mac")
def test_mps_trains_in_fp32_unless_bf16_is_asked_for() -> None:
    assert not has_fast_bf16()
    require("bf16")
    with pytest.raises(UserError, match="precision=tf32: needs a CUDA GPU"):
        require("tf32")
