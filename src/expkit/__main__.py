"""`python -m expkit`: compose, check, run.

Nothing heavy is imported here: help, `--cfg job` and complaints about the configuration are
answered before torch is.
"""

import os
import signal
import sys
from threading import Event
from types import FrameType

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from expkit.config.checks import check
from expkit.config.messages import explain
from expkit.config.project import conf_dir, project_root
from expkit.errors import ConfigError, UserError

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

# Set when Hydra has composed and the work begins: from then on an exception is no bad input.
started = Event()


def job(cfg: DictConfig) -> float | None:
    """One run, as Hydra calls it; returns the objective for sweepers."""
    hydra_config = HydraConfig.get()
    started.set()
    check(cfg, list(hydra_config.overrides.task))
    if cfg.dry_run:
        from expkit.dry_run import dry_run

        dry_run(cfg)
        return None
    from expkit.experiment import run

    return run(cfg, dict(hydra_config.runtime.choices))


def _single_or_sweep(cfg: DictConfig) -> float | None:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return job(cfg)
    try:
        return job(cfg)
    except UserError as error:
        # SystemExit passes through Hydra, which would print its own line about an exception.
        raise SystemExit(_complain(error)) from error


def _complain(error: UserError) -> int:
    message = str(error).replace("\n", "\n  ")
    print(f"expkit: {message}", file=sys.stderr)
    return BAD_INPUT if isinstance(error, ConfigError) else FAILED


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of `python -m expkit`."""
    # Hydra then raises what it would print, so that there is one way to print it.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    signal.signal(signal.SIGTERM, _terminate)
    OmegaConf.register_new_resolver("project_root", lambda: str(project_root()), replace=True)
    run_hydra = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    try:
        run_hydra(_single_or_sweep)()
    except UserError as error:
        sys.exit(_complain(error))
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            sys.exit(_complain(UserError(f"{error.filename}: {error.strerror}")))
        if started.is_set():
            raise
        # Hydra raises exceptions of many kinds while it composes.
        sys.exit(_complain(ConfigError([explain(error, sys.argv[1:])])))
    except KeyboardInterrupt:
        print("expkit: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
