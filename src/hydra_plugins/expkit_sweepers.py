"""Hydra takes sweepers from this package only; what they do is in expkit.sweeps.

Hydra imports this file at every start, so it imports nothing that takes time.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """All combinations of the values that are given, as one sweep."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs; called by Hydra with the overrides of the command line."""
        from expkit.sweeps.grid import sweep

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        jobs = self.combinations(arguments)
        return sweep(self.hydra_context, self.config, self.launcher, jobs, self.max_batch_size)

    def combinations(self, arguments: list[str]) -> list[list[str]]:
        """The overrides of each job."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(overrides, None)
        return combinations
