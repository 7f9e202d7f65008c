"""Hydra takes sweepers from this package only; what they do is in expkit.sweeps.

Hydra imports this file at every start, so it imports nothing that takes time.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class _Sweeper(BasicSweeper):
    """Says which extra to install before Hydra looks for the launcher."""

    # Hydra's own sweeper says that these may be None; `setup` has been called before `sweep` is.
    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make the launcher; called by Hydra."""
        from expkit.sweeps.launchers.installed import require

        for group in ("sweeper", "launcher"):
            option = config.hydra.runtime.choices[f"hydra/{group}"]
            require(f"hydra/{group}", option, config.hydra[group]._target_)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)


class GridSweeper(_Sweeper):
    """All combinations of the values that are given, as one sweep."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs; called by Hydra with the overrides of the command line."""
        from expkit.sweeps.grid import sweep

        jobs = self.combinations(arguments)
        return sweep(self.hydra_context, self.config, self.launcher, jobs, self.max_batch_size)

    def combinations(self, arguments: list[str]) -> list[list[str]]:
        """The overrides of each job."""
        from expkit.config.texts import TextParser

        parser = TextParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(overrides, None)
        return combinations


class OptunaSweeper(_Sweeper):
    """A search with Optuna; the options are those of conf/hydra/sweeper/optuna.yaml."""

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.options = options

    def sweep(self, arguments: list[str]) -> Any:
        """Run the trials; called by Hydra with the overrides of the command line."""
        from expkit.sweeps.search.study import search

        overrides = [*self._parse_config(), *arguments]
        return search(self.hydra_context, self.config, self.launcher, overrides, dict(self.options))
