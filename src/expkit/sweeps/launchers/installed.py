"""Check that the package of a launcher or sweeper is installed."""

from importlib.util import find_spec

from expkit.terminal.errors import ConfigError

# From the class in a `_target_` to the module it needs, the module's package, and expkit's extra.
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
        option: the chosen option of that group.
        target: the option's `_target_`.
    """
    needed = EXTRAS.get(target.rpartition(".")[2])
    if needed and find_spec(needed[0]) is None:
        _, package, extra = needed
        raise ConfigError(
            f"{group}={option}: needs the package {package}; "
            f"install it: pip install 'expkit[{extra}]'"
        )
