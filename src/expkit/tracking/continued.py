"""Continue a finished run by a longer one, which begins with the state that the shorter one has kept."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from omegaconf import OmegaConf

from expkit.config.fingerprint import differences, digest_of_values, sources, without_length
from expkit.config.project import COMMON, run_folder
from expkit.optim import digest_of_settings
from expkit.processes.context import job_context
from expkit.terminal.display import say
from expkit.terminal.errors import ConfigError, UserError
from expkit.tracking import outbox, past, store
from expkit.tracking.logged import find_run
from expkit.tracking.writer import IDENTITY, Run
from expkit.training.checkpoint import FOLDER, SavedState, newest_in
from expkit.training.train import WHAT_IT_TAKES


@dataclass(frozen=True)
class Parent:
    """A finished run, the state that it has kept, and the identity of a longer run that begins with it."""

    id: str
    state: SavedState
    identity: Mapping[str, Any]

    def hand_over(self, client: MlflowClient, run: Run) -> None:
        """Let a run without checkpoints begin with the state and the curves of this one."""
        (run.folder / outbox.FILE).write_text(self.state.memory["curves"], encoding="utf-8")
        shutil.copytree(self.state.folder, run.folder / FOLDER / self.state.folder.name)
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
        is_other = store.is_deleted(run) or past.is_sweep(run) or run.info.status != "FINISHED"
        return None if is_other else _parent(run, identity)
    if not (sweep := job_context().sweep):
        return None
    found = []
    alike = digest_of_values(without_length(identity))
    for run in past.runs_with(client, [experiment], past.CHAIN, alike):
        if run.data.tags.get(past.SWEEP) == sweep and run.info.status == "FINISHED":
            with suppress(UserError):
                found.append(_parent(run, identity))
    return max(found, key=lambda parent: parent.state.done, default=None)


def _parent(run: MlflowRun, identity: Mapping[str, Any]) -> Parent:
    folder, its_name = run_folder(run.info.run_id), f"run {run.info.run_id} has finished"
    if not (folder / IDENTITY).is_file():
        raise UserError(f"{its_name}, and its folder {folder} is not here")
    then = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    if identity["precision"] == "auto":
        identity = {**identity, "precision": then["precision"]}
    if digest_of_values(identity) == digest_of_values(then):
        raise UserError(f"{its_name}: nothing is left to do; resume=auto skips what has finished")
    if changed := differences(_apart_from_end(then), _apart_from_end(identity)):
        raise ConfigError(
            [f"{its_name}; a longer run may change length and schedule only", *changed]
        )
    if (state := newest_in(folder / COMMON)) is None:
        raise UserError(
            f"{its_name} and has no undamaged state for a longer run: {WHAT_IT_TAKES}; a new run can start from its "
            f"weights, with a new optimizer and schedule: give model=checkpoint model.path={folder / 'model'}"
            " in place of all other options of model"
        )
    total, in_epoch = state.memory["steps"]
    steps = identity["train"]["max_steps"] or identity["train"]["epochs"] * in_epoch
    if steps <= total:
        raise UserError(
            f"{its_name} with {total} steps, and now {steps} are asked for: train.epochs ({in_epoch} steps each) "
            "or train.max_steps has to be larger"
        )
    components = OmegaConf.create({key: identity[key] for key in ("optimizer", "scheduler")})
    if digest_of_settings(components, steps, state.done) != state.memory["settings"]:
        other = "; ".join(differences(then["scheduler"], identity["scheduler"], "scheduler"))
        raise UserError(
            f"{its_name} and kept its state after {state.done} steps; with this schedule of {steps} steps, the "
            f"learning rates up to there are others{f' ({other})' if other else ''}: {WHAT_IT_TAKES}"
        )
    return Parent(run.info.run_id, state, identity)


def _apart_from_end(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be the same in a longer run: all but length and schedule."""
    others = {key: value for key, value in identity.items() if key not in ("scheduler", "source")}
    source = {k: v for k, v in identity["source"].items() if k in sources(others)}
    return {**without_length(identity), "scheduler": {}, "source": source}
