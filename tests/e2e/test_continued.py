"""A longer run goes on where a shorter one has finished, and nothing is trained twice."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file

from conftest import TINY, Command, composed, runs_of
from expkit.data.splits import Splits
from expkit.experiment import run
from expkit.metrics import outcomes
from expkit.processes.outcome import Outcome
from expkit.terminal.errors import UserError
from expkit.tracking.logged import artifact_of
from expkit.training.train import _common

# Neither the logging nor the evaluations fall on the end of an epoch, which has 4 steps.
SHORT = (
    *(option for option in TINY if option != "train.log_every=1"),
    *(
        "train.log_every=3",
        "train.eval_every=5",
        "train.accumulation=2",
        "tracking.log_model=false",
    ),
    *("data.sizes.train=58", "scheduler.warmup_steps=3", "train.patience=9"),
)
KEPT = ("checkpoint.keep_final=true", "train.epochs=3")

COUNTING = """
from expkit.backends.torch_loop import TorchLoop

class Counting(TorchLoop):
    def fit(self, training, on_step):
        def count(result):
            with open("steps", "a") as file:
                file.write(f"{result.done}\\n")
            return on_step(result)
        super().fit(training, count)
"""


def trained(*overrides: str) -> Outcome:
    return run(composed(*SHORT, *overrides), {})


def facts_of(project: Path, run_id: str) -> dict[str, Any]:
    """Everything that the result and the curves of a run consist of, except for times."""
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    logged = client.get_run(run_id)
    curves = {
        name: [(m.step, str(m.value)) for m in client.get_metric_history(run_id, name)]
        for name in logged.data.metrics
        if name != "train/samples_per_second"
    }
    file = artifact_of(logged, f"eval/{outcomes.FILE}")
    assert file is not None
    return {"curves": curves, "outcomes": outcomes.read(file)}


def weights_of(project: Path, run_id: str) -> dict[str, torch.Tensor]:
    return load_file(project / "outputs/runs" / run_id / "model/model.safetensors")


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as error:
        trained(*overrides)
    return str(error.value)


def stop(share: float, value: float) -> bool:
    """What a signal does after some steps."""
    if share > 0.6:
        raise KeyboardInterrupt
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("scheduler=constant", "lora=attention", "backend=torch", "train.eval_on_start=true"),
        ("scheduler=wsd", "lora=none", "backend=trainer"),
    ],
    ids=" ".join,
)
def test_three_epochs_and_seven_more_are_ten(options: tuple[str, ...], project: Path) -> None:
    three = trained(*options, *KEPT)
    resume = f"resume={three.run_id}"
    says_what_is_possible(project, *options, resume)
    # It is cut off after an evaluation, and goes on from its own checkpoint.
    ten = (*options, "train.epochs=10", "checkpoint.every_steps=1")
    with pytest.raises(KeyboardInterrupt):
        run(composed(*SHORT, *ten, resume), {}, stop)
    gone_on = trained(*ten, resume if "backend=torch" in options else "resume=auto")
    assert len(runs_of(project)) == 2
    at_once = trained(*ten)
    assert facts_of(project, gone_on.run_id) == facts_of(project, at_once.run_id)
    expected = weights_of(project, at_once.run_id)
    assert all(torch.equal(w, expected[n]) for n, w in weights_of(project, gone_on.run_id).items())
    tags = {run.info.run_id: run.data.tags for run in runs_of(project)}
    assert tags[gone_on.run_id]["expkit.continues"] == three.run_id
    assert f"Continues run {three.run_id}" in tags[gone_on.run_id]["mlflow.note.content"]
    assert "expkit.continues" not in tags[at_once.run_id]


def says_what_is_possible(project: Path, *options: str) -> None:
    """Look at the message for everything that a longer run cannot do."""
    assert "12 steps, and now 8 are asked for" in refused(*options, "train.epochs=2")
    assert "12 steps, and now 12 are" in refused(*options, "train.max_steps=12")
    assert "nothing is left to do" in refused(*options, "train.epochs=3")
    changed = refused(*options, "train.epochs=9", "seed=3", "optimizer.lr=0.1").splitlines()
    assert changed[1:] == ["seed: 42 then, 3 now", "optimizer.lr: 0.001 then, 0.1 now"]
    # The new schedule may fall after the state that was kept, but not before it.
    early = ("scheduler=wsd", "scheduler.decay_ratio=0.9", "train.epochs=9")
    assert "learning rates up to there are others" in refused(*options, *early)
    (folder,) = project.glob("outputs/runs/*/common")
    (file,) = folder.glob("*/state.json")
    whole = file.read_text()
    file.write_text(whole[:-1])
    assert "no undamaged state" in refused(*options, "train.epochs=9")
    file.write_text(whole)
    folder.rename(folder.with_suffix(".gone"))
    assert "scheduler=constant or wsd" in refused(*options, "train.epochs=9")
    folder.with_suffix(".gone").rename(folder)


@pytest.mark.slow
def test_data_that_have_changed_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three = trained("scheduler=constant", *KEPT)
    longer = ("scheduler=constant", "train.epochs=4", f"resume={three.run_id}")
    monkeypatch.setattr(
        Splits,
        "digests",
        lambda splits: {"train": "others", "validation": "others", "test": "others"},
    )
    assert re.search(
        "the data have changed since the first 12 steps: .*'others' now; a run without resume",
        refused(*longer),
    )


def test_a_run_says_at_its_start_that_it_will_keep_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cfg = composed("checkpoint.keep_final=true", "scheduler=linear")
    assert _common(cfg, 100) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing is kept" in said
    assert "scheduler=constant or wsd" in said


def chain(project: Path) -> Iterator[Run]:
    for found in runs_of(project):
        if "mlflow.expkit.chain" in found.data.tags:
            yield found


@pytest.mark.slow
def test_a_grid_over_the_length_trains_the_common_part_once(expkit: Command, project: Path) -> None:
    (project / "counting.py").write_text(COUNTING)
    grid = ("-m", *SHORT, "scheduler=constant", "backend._target_=counting.Counting")
    done = expkit(*grid, "train.epochs=4,1,8,2")
    assert done.returncode == 0, done.stderr
    assert sorted(map(int, (project / "steps").read_text().split())) == list(range(1, 33))
    jobs = {found.info.run_name: found for found in chain(project)}
    assert len(jobs) == 4
    continues = {name: job.data.tags.get("expkit.continues") for name, job in jobs.items()}
    assert continues["epochs=1"] is None
    assert continues["epochs=8"] == jobs["epochs=4"].info.run_id
    assert not list(project.glob("outputs/runs/*/common")), "was kept only for the chain"
