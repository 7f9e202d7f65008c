"""Hydra finds sweepers only in this package; what they do is in expkit.sweeps.

Hydra imports this file whenever it starts, so the file imports nothing that takes time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class _Sweeper(BasicSweeper):
    """Names the extra to install before Hydra fails to find the launcher."""

    # BasicSweeper declares these as optional, but Hydra calls `setup` before `sweep`.
    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Create the launcher; Hydra calls this once."""
        from expkit.sweeps.launchers.installed import require

        for group in ("sweeper", "launcher"):
            option = config.hydra.runtime.choices[f"hydra/{group}"]
            require(f"hydra/{group}", option, config.hydra[group]._target_)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)


class GridSweeper(_Sweeper):
    """Runs all combinations of the given values as one sweep."""

    def sweep(self, arguments: list[str], work: Callable[..., str] | None = None) -> Any:
        """Run the jobs; Hydra calls this with the overrides of the command line."""
        from expkit.config.texts import TextParser
        from expkit.sweeps.grid import sweep

        parser = TextParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (jobs,) = self.split_arguments(overrides, None)
        given = self.hydra_context, self.config, self.launcher, jobs, self.max_batch_size
        return (work or sweep)(*given)


class RaceSweeper(GridSweeper):
    """Runs all combinations with one seed, and those that may be the best with more seeds."""

    def __init__(self, max_seeds: int, margin: float | None, **options: Any) -> None:
        super().__init__(**options)
        self.options = {"max_seeds": max_seeds, "margin": margin}

    def sweep(self, arguments: list[str], work: Callable[..., str] | None = None) -> Any:
        """Run the rounds; Hydra calls this with the overrides of the command line."""
        from expkit.sweeps.race import race

        return super().sweep(arguments, partial(race, **self.options))


class OptunaSweeper(_Sweeper):
    """Searches with Optuna, with the options of conf/hydra/sweeper/optuna.yaml."""

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.options = options

    def sweep(self, arguments: list[str]) -> Any:
        """Run the trials; Hydra calls this with the overrides of the command line."""
        from expkit.sweeps.search.study import search

        overrides = [*self._parse_config(), *arguments]
        return search(self.hydra_context, self.config, self.launcher, overrides, dict(self.options))
