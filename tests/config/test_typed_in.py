"""Jobs in processes that may be on another machine."""

from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from expkit.config.typed_in import where_typed


@pytest.mark.parametrize("is_there", [True, False])
def test_the_folder_of_the_command_need_not_be_on_this_machine(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    typed_in = tmp_path if is_there else tmp_path / "elsewhere"
    cfg = OmegaConf.create({"hydra": {"runtime": {"cwd": str(typed_in)}}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)
    assert where_typed() == (tmp_path if is_there else Path.cwd())
