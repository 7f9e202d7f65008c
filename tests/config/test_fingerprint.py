"""An experiment is known by what decides its result."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from conftest import composed
from expkit.config.checks import check
from expkit.config.fingerprint import fingerprint, sources


def of(*overrides: str) -> str:
    cfg = composed(*overrides)
    check(cfg, [])
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return fingerprint({str(key): value for key, value in plain.items()})


@pytest.mark.parametrize(
    "override",
    [
        "run_name=other",
        "tracking.experiment=other",
        "tracking.log_model=false",
        "resume=auto",
        "sweep.on_failure=stop",
        "checkpoint.every_steps=7",
        "trusted_modules=[mine]",
        "launch.fsdp=true",
        "optimizer.lr=0.001",  # the default, written in another way
    ],
)
def test_what_cannot_change_the_result_is_left_out(override: str) -> None:
    assert of(override) == of()


@pytest.mark.parametrize(
    "override",
    [
        *("seed=1", "precision=fp32", "optimizer.lr=2e-3", "optimizer=sgd", "backend=trainer"),
        *("task.max_length=64", "task=masked_lm", "model=tiny_bert", "model.dropout=0.2"),
        *("lora=none", "lora.r=4", "scheduler=cosine", "train.epochs=3", "train.max_steps=5"),
        *("train.eval_every=3", "train.patience=2", "data.sizes.train=50", "objective=eval/loss"),
        "data.max_train_examples=10",
    ],
)
def test_a_changed_config_is_another_experiment(override: str) -> None:
    assert of(override) != of()


def test_processes_count_as_accumulation() -> None:
    four = of("train.accumulation=4")
    assert of("train.accumulation=2", "launch.processes=2") == of("launch.processes=4") == four
    assert of("train.accumulation=4", "launch.processes=2") != four


def test_files_count_by_their_content(tmp_path: Path) -> None:
    def write(name: str, text: str) -> list[str]:
        file = tmp_path / name
        file.write_text(text)
        return ["data=files", f"data.train_file={file}", f"data.validation_file={file}"]

    first = of(*write("a.jsonl", '{"text": "a"}\n'))
    assert of(*write("b.jsonl", '{"text": "a"}\n')) == first
    assert of(*write("a.jsonl", '{"text": "b"}\n')) != first
    assert of(*write("a.txt", '{"text": "a"}\n')) != first  # each line is a text
    assert of(*write("c.jsonl", '{"text": "a"}\n'), "data.conll.columns=[word,tag]") != first


def test_files_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a"}\n')
    whole = of("data=files", f"data.train_file={file}", f"data.validation_file={file}")
    assert (
        of("data=files", "data.train_file='~/a.jsonl'", "data.validation_file='~/a.jsonl'") == whole
    )


def test_checkpoint_folders_count_by_their_content(tmp_path: Path) -> None:
    def write(folder: str, weights: bytes) -> dict[str, Any]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "model.safetensors").write_bytes(weights)
        model = {"path": str(tmp_path / folder)}
        launched = {"train": {"accumulation": 1}, "launch": {"processes": 1}}
        return {"data": {}, "model": model, **launched}

    first = fingerprint(write("one", b"1"))
    assert fingerprint(write("two", b"1")) == first
    assert fingerprint(write("two", b"22")) != first


def write_package(folder: Path) -> Path:
    """A package of the user's own, whose task takes its loss from a module beside it."""
    package = folder / "mine"
    files = {
        "__init__.py": "",
        "tasks.py": "from mine.base import Base\nclass Task(Base): ...\n",
        "base.py": "import torch\nfrom . import losses\nclass Base: ...\n",
        "losses.py": "def late():\n    import helpers\n",
        "plots.py": "import broken",
    }
    package.mkdir(parents=True)
    for name, text in files.items():
        (package / name).write_text(text)
    (folder / "helpers.py").write_text("RATE = 1\nfrom mine import tasks, nothing\n")
    return package


TASK = {"task": {"_target_": "mine.tasks.Task", "metrics": [{"_target_": "torch.optim.SGD"}]}}


def test_source_is_that_of_the_component_and_of_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = {"mine", "mine.tasks", "mine.base", "mine.losses", "helpers"}
    assert set(sources(TASK)) == own


@pytest.mark.parametrize(
    "changed", ["mine/tasks.py", "mine/losses.py", "helpers.py", "mine/plots.py"]
)
def test_a_changed_source_is_another_experiment(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("before", "after"):
        write_package(tmp_path / name)
    with (tmp_path / "after" / changed).open("a") as file:
        file.write("\n# changed\n")
    digests = []
    for name in ("before", "after"):
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / name)
            digests.append(sources(TASK))
    assert (digests[0] != digests[1]) == (changed != "mine/plots.py")


def test_the_source_stays_that_which_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of a sweep that share a process run what it has imported, whatever the file says later."""
    file = write_package(tmp_path) / "tasks.py"
    monkeypatch.syspath_prepend(tmp_path)
    first = sources(TASK)
    file.write_text("class Task: ...\n")
    assert sources(TASK) == first


def test_of_expkit_the_files_of_its_components_count() -> None:
    found = sources({"task": {"_target_": "expkit.tasks.masked_lm.MaskedLM"}})
    assert {"expkit.tasks.masked_lm", "expkit.tasks.masking", "expkit.data.words"} <= set(found)
    assert not [name for name in found if name.startswith(("expkit.terminal", "expkit.config"))]
    assert "expkit.tasks.translation" not in found


def test_helpers_that_cannot_be_read_are_left_to_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path)
    (package / "losses.py").write_text("def (:")
    monkeypatch.syspath_prepend(tmp_path)
    assert "mine.losses" in sources(TASK)
