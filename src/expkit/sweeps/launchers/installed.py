"""Launchers and sweepers whose packages are extras."""

from importlib.util import find_spec

from expkit.terminal.errors import ConfigError

# By the last part of a `_target_`: the module that must be there, its package, the extra.
EXTRAS = {
    "JoblibLauncher": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher", "joblib"),
    "LocalLauncher": ("submitit", "submitit", "submitit"),
    "SlurmLauncher": ("submitit", "submitit", "submitit"),
    "RayLauncher": ("ray", "ray", "ray"),
    "OptunaSweeper": ("optuna", "optuna", "optuna"),
}


def require(group: str, option: str, target: str) -> None:
    """Raise a ConfigError that names the extra to install if an option needs one.

    Args:
        group: hydra/launcher or hydra/sweeper.
        option: what was taken.
        target: its `_target_`.
    """
    needed = EXTRAS.get(target.rpartition(".")[2])
    if needed and find_spec(needed[0]) is None:
        _, package, extra = needed
        raise ConfigError(
            f"{group}={option}: needs the package {package}; "
            f"install it: pip install 'expkit[{extra}]'"
        )
