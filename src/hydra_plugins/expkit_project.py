"""Hydra finds what changes its search path only in this package, and imports it at each start."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from expkit.config.project import conf_dir, own_conf
from expkit.terminal.errors import ConfigError


class ProjectSearchPath(SearchPathPlugin):
    """Puts the options in the project's folder `conf` before those of expkit."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder; Hydra calls this for other programs too. Raises ConfigError."""
        conf, paths = own_conf(), [element.path for element in search_path.get_path()]
        if conf is None or not {str(conf_dir()), f"file://{conf_dir()}"} & {*paths}:
            return
        for file in (conf / "config.yaml", conf / "sweeper.yaml"):
            if file.exists():
                why = "would replace expkit's whole file; put what it sets into a recipe"
                raise ConfigError(f"{file}: {why}, such as {conf}/experiment/mine.yaml")
        search_path.prepend("expkit-project", str(conf), anchor="main")
