"""What launchers call for each job of a sweep, in this process or in another."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from expkit.config.project import project_root, take_over
from expkit.config.texts import as_typed
from expkit.config.typed_in import check_where_typed, where_typed
from expkit.processes.attempt import attempt, in_own_process
from expkit.processes.context import job_context
from expkit.processes.outcome import IsPromising, Outcome
from expkit.terminal.errors import UserError, reason


def job(cfg: DictConfig) -> Any:
    """Carry out one run, or trials of a search if the launcher has started a worker of one.

    A failure is returned and not raised, so that it ends neither the launcher nor the other jobs. The
    run in MLflow says why it failed.
    """
    take_over(job_context().project)
    if order := job_context().search:
        from expkit.sweeps.search.worker import work

        os.chdir(where_typed())  # Hydra has a folder for each job, but the worker has many trials
        return work(cfg, **order)
    from expkit.tracking.sweep import is_stopped, stop_sweep

    hydra_config = HydraConfig.get()
    check_where_typed(cfg)
    typed = own_overrides(as_typed(hydra_config.overrides.task))
    os.environ.update(job_context().variables(overrides=" ".join(typed)))
    stops = cfg.sweep.on_failure == "stop"
    if stops and is_stopped(cfg.tracking):
        return Outcome("skipped")
    outcome = carry_out(cfg, dict(hydra_config.runtime.choices), typed)
    if stops and outcome.state == "failed":
        stop_sweep(cfg.tracking)
    return outcome


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """Leave out what the sweep has added, and the store, whose address may hold a password."""
    hidden = ("run_name=", "tracking.uri=", "checkpoint.keep_final=")
    return [o for o in overrides if not o.lstrip("+~").startswith(hidden)]


def carry_out(
    cfg: DictConfig,
    choices: Mapping[str, str],
    typed: Sequence[str],
    is_promising: IsPromising | None = None,
) -> Outcome:
    """Carry out one run, in this process or in others; print and return a failure.

    Args:
        is_promising: says after each evaluation whether to continue; it may be sent to a process.
    """
    work = partial(_run, choices=choices, typed=typed, is_promising=is_promising)
    if cfg.launch.processes > 1:
        from expkit.processes.launch import launch

        context = replace(job_context(), project=str(project_root()))
        return launch(cfg, work, context, partial(_mark_failed, cfg.tracking))
    return in_own_process(cfg, work) if cfg.sweep.process_per_job else attempt(cfg, work)


def _run(cfg: DictConfig, **how: Any) -> Outcome:
    take_over(job_context().project)
    from expkit.experiment import run

    return run(cfg, **how)


def _mark_failed(settings: Mapping[str, Any], run_id: str, why: str, is_certain: bool) -> bool:
    from mlflow.exceptions import MlflowException

    from expkit.tracking.run import end_for

    try:
        return end_for(settings, run_id, why, is_certain)
    except MlflowException as error:
        raise UserError(reason(error)) from error
