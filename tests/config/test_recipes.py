"""A recipe may choose the launcher and the sweeper, as it may choose all else."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from expkit.config.project import conf_dir, project_root
from expkit.config.resolved import runnable
from expkit.sweeps.plan import plan
from expkit.terminal.errors import ConfigError

RECIPE = "# @package _global_\ndefaults:\n"


@pytest.fixture(autouse=True)
def _resolver() -> None:
    setup_globals()
    # As the command does it: later tests of this process use it too.
    OmegaConf.register_new_resolver("project_root", lambda: str(project_root()), replace=True)


def composed_with(folder: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        searched = f"hydra.searchpath=[file://{folder}]"
        return compose("config", [searched, *overrides], return_hydra_config=True)


def recipe(folder: Path, name: str, *lines: str) -> None:
    (folder / "experiment").mkdir(exist_ok=True)
    (folder / "experiment" / f"{name}.yaml").write_text(RECIPE + "".join(f"{x}\n" for x in lines))


@pytest.mark.parametrize("launcher", ["joblib", "ray", "submitit_local", "submitit_slurm", "basic"])
@pytest.mark.parametrize("sweeper", ["optuna", "grid"])
def test_a_recipe_chooses(launcher: str, sweeper: str, tmp_path: Path) -> None:
    chosen = (
        f"  - override /hydra/launcher: {launcher}",
        f"  - override /hydra/sweeper: {sweeper}",
    )
    recipe(tmp_path, "mine", *chosen)
    cfg = composed_with(tmp_path, "experiment=mine")
    choices = cfg.hydra.runtime.choices
    assert (choices["hydra/launcher"], choices["hydra/sweeper"]) == (launcher, sweeper)
    typed = composed_with(tmp_path, "experiment=mine", "hydra/launcher=ray", "hydra/sweeper=grid")
    assert typed.hydra.launcher._target_.endswith(".RayLauncher")
    assert typed.hydra.sweeper._target_.endswith(".GridSweeper")


def test_without_a_choice_a_sweep_is_a_grid_of_one_job_after_another(tmp_path: Path) -> None:
    choices = composed_with(tmp_path).hydra.runtime.choices
    assert (choices["hydra/launcher"], choices["hydra/sweeper"]) == ("basic", "grid")


def test_the_file_of_a_run_sweeps_as_the_command_does(tmp_path: Path) -> None:
    cfg = composed_with(tmp_path)
    with open_dict(cfg):
        del cfg["hydra"]
    assert "sweeper" in runnable(cfg)["defaults"]


def test_one_of_several_recipes_cannot_choose_for_all(tmp_path: Path) -> None:
    recipe(tmp_path, "a", "  - override /hydra/launcher: joblib")
    recipe(tmp_path, "b", "  - override /optimizer: sgd")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        searched = f"hydra.searchpath=[file://{tmp_path}]"
        master = loader.load_configuration("config", [searched], RunMode.MULTIRUN)
        with pytest.raises(
            ConfigError, match="hydra/launcher=joblib: only one of several recipes chooses it"
        ):
            plan(loader, master, [["experiment=a"], ["experiment=b"]])
