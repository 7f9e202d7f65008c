"""A job of a sweep: what launchers call, here or in other processes."""

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


def job(cfg: DictConfig) -> Any:
    """One run, or the trials of a search, as a launcher asks for them by Hydra's task function.

    A failure is returned, so that it ends neither the launcher nor the other jobs. Why it failed stands
    in the run that it leaves in MLflow.
    """
    take_over(job_context().project)
    if order := job_context().search:
        from expkit.sweeps.search.worker import work

        os.chdir(where_typed())  # Hydra's folder would be that of many trials
        return work(cfg, order)
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
    """What was asked for: not the name that the sweep gave the job, nor an address with a password."""
    hidden = ("run_name=", "tracking.uri=")
    return [o for o in overrides if not o.lstrip("+~").startswith(hidden)]


def carry_out(
    cfg: DictConfig,
    choices: Mapping[str, str],
    typed: Sequence[str],
    is_promising: IsPromising | None = None,
) -> Outcome:
    """One run, in this process or in others; a failure is told and returned.

    Args:
        is_promising: says after each evaluation whether to go on; it can be sent to a process.
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
    from expkit.tracking.run import end_for

    return end_for(settings, run_id, why, is_certain)
