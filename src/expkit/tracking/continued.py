"""Continue a finished run by a longer one, which begins with the state that the shorter one has kept."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from omegaconf import OmegaConf

from expkit.config.fingerprint import differences, digest_of_values, without_length
from expkit.config.project import run_folder
from expkit.optim import digest_of_settings
from expkit.processes.context import job_context
from expkit.terminal.display import say
from expkit.terminal.errors import ConfigError, UserError
from expkit.tracking import outbox, past, store
from expkit.tracking.logged import find_run
from expkit.tracking.writer import IDENTITY, Run
from expkit.training import checkpoint
from expkit.training.train import NOT_KEPT

WHAT_IT_TAKES = (
    "a longer run can continue one that ran with checkpoint.keep_final=true and scheduler=constant or wsd, "
    "with scheduler.warmup_steps in place of scheduler.warmup_ratio"
)


@dataclass(frozen=True)
class Parent:
    """A finished run, the state that it has kept, and the identity of a longer run that begins with it."""

    id: str
    state: checkpoint.SavedState
    identity: Mapping[str, Any]

    def hand_over(self, client: MlflowClient, run: Run) -> None:
        """Let a run that has done no step begin with the state and the curves of this one."""
        (run.folder / outbox.FILE).write_text(self.state.memory["curves"], encoding="utf-8")
        checkpoint.adopt(self.state, run.folder)
        run.keep_identity(self.identity)
        run.goes_on = True
        client.set_tag(run.id, past.CONTINUES, self.id)
        say(f"continues run {self.id}")


def parent_of(
    client: MlflowClient, experiment: str, identity: Mapping[str, Any], resume: str
) -> Parent | None:
    """Return the finished run that `resume` names, or the one of the same sweep that leaves the fewest steps.

    Raises:
        UserError: `resume` names a finished run that the new one cannot continue.
    """
    if resume not in ("never", "auto"):
        run = find_run(client, resume)
        is_none = store.is_deleted(run) or past.is_sweep(run) or run.info.status != "FINISHED"
        return None if is_none else _parent(run, identity)
    if not (sweep := job_context().sweep):
        return None
    found = []
    for run in past.runs_with(client, [experiment], past.CHAIN, chain_of(identity)):
        if run.data.tags.get(past.SWEEP) == sweep and run.info.status == "FINISHED":
            with suppress(UserError):
                found.append(_parent(run, identity))
    return max(found, key=lambda parent: parent.state.done, default=None)


def chain_of(identity: Mapping[str, Any]) -> str:
    """Return what experiments share that differ only in their number of steps."""
    return digest_of_values(without_length(identity))


def _parent(run: MlflowRun, identity: Mapping[str, Any]) -> Parent:
    folder, its_name = run_folder(run.info.run_id), f"run {run.info.run_id}"
    state = checkpoint.common(folder)
    if state is None:
        why = run.data.tags.get(NOT_KEPT, "it ran without checkpoint.keep_final=true")
        raise UserError(
            f"{its_name} has finished, and has kept nothing for a longer run: {why}; {WHAT_IT_TAKES}; "
            "a new run can start from its weights, with a new optimizer and schedule: give model=checkpoint "
            f"model.path={folder / 'model'} in place of all other options of model"
        )
    then = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    if identity["precision"] == "auto":
        identity = {**identity, "precision": then["precision"]}
    old, new = ({**without_length(side), "scheduler": {}} for side in (then, identity))
    if changed := differences(old, new):
        what = f"{its_name} has finished; a longer run may change only its length and schedule"
        raise ConfigError([what, *changed])
    total, in_epoch = state.memory["steps"]
    steps = identity["train"]["max_steps"] or identity["train"]["epochs"] * in_epoch
    if steps <= total:
        raise UserError(
            f"{its_name} has finished {total} steps, and now {steps} are asked for: train.epochs "
            f"({in_epoch} steps each) or train.max_steps has to be larger"
        )
    components = OmegaConf.create({key: identity[key] for key in ("optimizer", "scheduler")})
    if digest_of_settings(components, steps, state.done) != state.memory["settings"]:
        raise UserError(
            f"{its_name} has finished and kept its state after {state.done} steps, for which {steps} steps "
            f"with this schedule have other learning rates; {WHAT_IT_TAKES}"
        )
    return Parent(run.info.run_id, state, identity)
