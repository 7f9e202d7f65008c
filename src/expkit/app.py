"""Hydra's entry: compose, check, and run one configuration or a sweep.

Nothing heavy is imported here: `--cfg job` and complaints about the configuration are answered before
torch is loaded. Launchers send `task` to other processes, so it does not live in `__main__`.
"""

import gc
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from expkit.config.composition import watch_composition, work_has_begun
from expkit.config.messages import explain
from expkit.config.project import conf_dir, decided_once, output_dir, require_outputs
from expkit.config.texts import as_typed
from expkit.config.typed_in import check_where_typed
from expkit.processes.exits import BAD_INPUT, FAILED, exit_codes, watch_output
from expkit.processes.interrupts import end_on_signals
from expkit.processes.outcome import Outcome
from expkit.processes.ranks import count, misdescribed
from expkit.sweeps.job import carry_out, job
from expkit.terminal.display import say
from expkit.terminal.errors import ConfigError, UserError

# Our launcher options have the same names as the plugins' own; Hydra warns about that at each composition.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore")


def main() -> None:
    """Entry point of `python -m expkit`."""
    # With this, Hydra raises errors instead of printing them, so expkit prints all errors in one way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    watch_output()
    # argparse takes no overrides after a flag that follows other overrides: seed=1 -m optimizer=adamw,sgd
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    if why := misdescribed():
        print(f"expkit: {why}", file=sys.stderr)  # in each process, as none knows which one it is
        sys.exit(BAD_INPUT)
    with exit_codes():
        end_on_signals()
        run_hydra = hydra.main(
            version_base="1.3", config_path=str(conf_dir()), config_name="config"
        )
        with composing(sys.argv[1:]):
            run_hydra(task)()


@contextmanager
def composing(arguments: Sequence[str]) -> Iterator[None]:
    """Check what Hydra composes in the block, and raise a UserError for what it cannot compose."""
    watch_composition()
    try:
        with decided_once():
            yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            require_outputs()
            raise UserError(f"{error.filename}: {error.strerror}") from error
        if work_has_begun.is_set():
            raise
        # Hydra raises exceptions of many kinds while it composes.
        raise ConfigError([explain(error, arguments)]) from error


def task(cfg: DictConfig) -> Any:
    """The task function of Hydra."""
    work_has_begun.set()
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return job(cfg)
    # Hydra lets SystemExit pass; for other exceptions it prints the overrides, and passwords in them.
    with exit_codes():
        single(cfg)
    return None


def single(cfg: DictConfig) -> Outcome | None:
    """One run, or a dry run, which has no outcome.

    Raises:
        UserError: the run cannot be done.
        SystemExit: the run failed in its child processes, which printed the reason.
    """
    hydra_config = HydraConfig.get()
    check_where_typed(cfg)
    for override in as_typed(hydra_config.overrides.hydra):
        if override.startswith("hydra.run.dir=") and not hydra_config.job.chdir:
            say(
                f"{override}: nothing is written there; the files of a run are in {output_dir()}/runs"
            )
    if (processes := count()) > 1:
        if cfg.dry_run:
            raise ConfigError(f"dry_run=true: needs one process, but {processes} were started")
        if (asked := cfg.launch.processes) not in (1, processes):
            raise ConfigError(f"launch.processes={asked}: {processes} were started already")
        cfg.launch.processes = processes
    if cfg.dry_run:
        from expkit.dry_run import dry_run

        dry_run(cfg)
        return None
    choices = dict(hydra_config.runtime.choices)
    typed = as_typed(hydra_config.overrides.task)
    if cfg.launch.processes > processes:
        outcome = carry_out(cfg, choices, typed)
        if outcome.state == "failed":
            raise SystemExit(FAILED)
        return outcome
    # Objects made before training live on; collecting garbage there wastes a sixth of the start-up time.
    gc.disable()
    from expkit.experiment import run
    from expkit.processes.group import joined

    with joined():
        return run(cfg, choices, typed=typed)
