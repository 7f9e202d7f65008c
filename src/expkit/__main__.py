"""`python -m expkit`: compose, check, run.

Nothing heavy is imported here: help, `--cfg job` and complaints about the configuration are
answered before torch is.
"""

import os
import sys

import hydra
from omegaconf import OmegaConf

from expkit.config.composition import watch_composition
from expkit.config.messages import explain
from expkit.config.project import conf_dir, decided_once, project_root, require_outputs
from expkit.processes.interrupts import end_on_signals
from expkit.processes.ranks import is_main, misdescribed
from expkit.sweeps.job import task, work_has_begun
from expkit.terminal.errors import BAD_INPUT, INTERRUPTED, ConfigError, UserError, complain
from expkit.terminal.secrets import watch_tracebacks
from expkit.terminal.streams import outlive_readers


def main() -> None:
    """Entry point of `python -m expkit`."""
    # Hydra then raises what it would print, so that there is one way to print it.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    outlive_readers()
    if why := misdescribed():
        print(f"expkit: {why}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    end_on_signals()
    OmegaConf.register_new_resolver("project_root", lambda: str(project_root()), replace=True)
    watch_tracebacks()
    watch_composition()
    run_hydra = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    try:
        with decided_once():
            run_hydra(task)()
    except UserError as error:
        sys.exit(complain(error))
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            sys.exit(complain(_of_file(error)))
        if work_has_begun.is_set():
            raise
        # Hydra raises exceptions of many kinds while it composes.
        sys.exit(complain(ConfigError([explain(error, sys.argv[1:])])))
    except KeyboardInterrupt:
        if is_main():
            print("expkit: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _of_file(error: OSError) -> UserError:
    try:
        require_outputs()
    except UserError as why:
        return why
    return UserError(f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
