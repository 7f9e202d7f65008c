"""Config-driven experiments for fine-tuning transformer models.

    import expkit
    run = expkit.run("task=token_classification", "lora=none")
    run.metrics["final/f1"]

docs/python.md shows what can be done from Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expkit.api import Comparison, Run, Sweep, compare_runs, load, run, runs, sweep
    from expkit.terminal.errors import ConfigError, DataError, UserError

__version__ = "0.1.0"
__all__ = [
    "Comparison", "ConfigError", "DataError", "Run", "Sweep", "UserError",
    "compare_runs", "load", "run", "runs", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what Python users call when they first name it, because torch and MLflow take seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'expkit' has no attribute {name!r}")
    import warnings
    from importlib import import_module

    module = "expkit.terminal.errors" if name.endswith("Error") else "expkit.api"
    with (
        warnings.catch_warnings()
    ):  # tqdm, which libraries import, would like widgets in a notebook
        warnings.filterwarnings("ignore", message="IProgress not found")
        return getattr(import_module(module), name)
