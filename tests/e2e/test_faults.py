"""What the machine has run out of: one clear message, a run that has FAILED, a checkpoint that is whole."""

import contextlib
import io
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from conftest import TINY, Command, composed, only_run
from expkit.backends.torch_loop import TorchLoop
from expkit.terminal.errors import UserError
from expkit.training import checkpoint
from expkit.training.interface import OnStep, StepResult, Training

MIB = 2**20
OPTIONS = (*TINY, "model.hidden_size=128", "lora=none", "train.max_steps=12")
OPTIONS += ("checkpoint.every_steps=2", "train.eval_every=12", "tracking.log_model=false")

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["expkit.experiment"])


def small_files(training: Training) -> None:
    """No file may grow beyond what MLflow's store needs, so a checkpoint does not fit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, resource.RLIM_INFINITY))


def large_activations(training: Training) -> None:
    """The next step needs more memory than there is anywhere."""
    training.task.loss = lambda model, batch: torch.empty(10**15)  # type: ignore[assignment, method-assign]


def limited_run(
    project: Path, overrides: tuple[str, ...], limit: Callable[[Training], None], says: Connection
) -> None:
    """In a process of its own: one run, for which something becomes scarce after step 5."""
    os.chdir(project)
    from expkit.experiment import run

    fit = TorchLoop.fit

    def limited(self: TorchLoop, training: Training, on_step: OnStep) -> None:
        def after(result: StepResult) -> bool:
            if result.done == 5:
                limit(training)
            return on_step(result)

        fit(self, training, after)

    TorchLoop.fit = limited  # type: ignore[method-assign]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            run(composed(*overrides), {})
        except UserError as error:
            says.send(str(error))


def message_of(project: Path, overrides: tuple[str, ...], limit: Callable[[Training], None]) -> str:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=limited_run, args=(project, overrides, limit, sender))
    process.start()
    sender.close()
    process.join(900)
    assert receiver.poll(), f"no message; exit code {process.exitcode}"
    return str(receiver.recv())


@pytest.mark.skipif(sys.platform != "linux", reason="limits are set as Linux has them")
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (small_files, "the file is larger than is allowed here"),
        (large_activations, "out of memory; try a smaller train.batch_size"),
    ],
)
def test_said_and_gone_on_from(
    limit: Callable[[Training], None], message: str, project: Path
) -> None:
    said = message_of(project, OPTIONS, limit)
    assert message in said
    assert "the last checkpoint is whole: resume=auto goes on from there" in said
    failed = only_run(project)
    assert failed.info.status == "FAILED"
    assert message in failed.data.tags["expkit.error"]
    found = checkpoint.newest(project / "outputs" / "runs" / failed.info.run_id)
    assert found is not None
    assert found.done == 4

    # There is enough of it again.
    from expkit.experiment import run

    run(composed(*OPTIONS, "resume=auto"), {})
    finished = only_run(project)
    assert finished.info.run_id == failed.info.run_id
    assert finished.info.status == "FINISHED"


def test_a_folder_that_cannot_be_written(expkit: Command, project: Path) -> None:
    read_only = Path("/sys/kernel")  # for every user
    if not read_only.is_dir():
        pytest.skip("no /sys/kernel here")
    (project / "outputs").rmdir()
    (project / "outputs").symlink_to(read_only)
    done = expkit(*TINY)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(project / "outputs") in done.stderr or str(read_only) in done.stderr


def test_a_loss_that_is_no_number(expkit: Command, project: Path) -> None:
    done = expkit(*TINY, "optimizer=sgd", "optimizer.lr=1e30", "train.max_grad_norm=null")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "training has diverged: train/loss is " in done.stderr
    assert "of 16; no checkpoint yet" in done.stderr
    run = only_run(project)
    assert run.info.status == "FAILED"
    assert "training has diverged" in run.data.tags["expkit.error"]
