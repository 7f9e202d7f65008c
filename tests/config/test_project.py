"""The project is decided once, and all processes of a command keep it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import TINY, Command, only_run, runs_of
from expkit.config.project import decided_once, project_root, require_outputs, take_over
from expkit.processes.context import VARIABLE, JobContext
from expkit.terminal.errors import UserError

FILES = ("data=files", "data.train_file=train.jsonl", "data.validation_file=train.jsonl")
OPTIONS = [
    *(o for o in TINY if not o.startswith("data.")),
    *("lora=none", "train.max_steps=1", "tracking.log_model=false", "hydra.job.chdir=true"),
    *("task.text_columns=[text]", *FILES),
]


def test_it_is_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "outputs").mkdir(parents=True)
        (tmp_path / name / "deep").mkdir()
        monkeypatch.chdir(tmp_path / name / "deep")
        assert project_root() == tmp_path / name
        with decided_once():
            monkeypatch.chdir(tmp_path)
            assert project_root() == tmp_path / name
        assert project_root() == tmp_path


def test_a_variable_that_is_left_over_does_not_count(
    project: Path, expkit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, JobContext(project="/somewhere/else").variables()[VARIABLE])
    assert project_root() == project
    assert f"dir: {project}/outputs" in expkit("--cfg", "hydra", "--resolve").stdout


def test_a_job_takes_over_that_of_its_sweep(tmp_path: Path, project: Path) -> None:
    with decided_once():
        take_over(None)
        assert project_root() == project
        take_over(str(tmp_path / "other"))
        assert project_root() == tmp_path / "other"
    assert project_root() == project


@pytest.fixture
def elsewhere(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like another project; the data are where the command is typed."""
    lines = [json.dumps({"text": f"word {i % 3}", "label": i % 2}) for i in range(40)]
    (project / "train.jsonl").write_text("\n".join(lines))
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "pyproject.toml").touch()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "sweep.process_per_job=true"),
        ("hydra/launcher=submitit_local",),
    ],
    ids=["joblib and a process per job", "submitit"],
)
def test_jobs_that_work_elsewhere_belong_to_the_project_of_the_command(
    how: tuple[str, ...], project: Path, elsewhere: Path, python: Command
) -> None:
    jobs = (f"hydra.sweep.dir={elsewhere}", "hydra.sweep.subdir=${hydra.job.num}", "seed=1,2")
    done = python("-m", *OPTIONS, *jobs, *how)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [run.data.params.get("data.train_file") for run in runs_of(project)]
    assert files.count(str(project / "train.jsonl")) == 2
    assert not list(elsewhere.rglob("outputs"))


def test_a_run_that_works_elsewhere_in_two_processes(
    project: Path, elsewhere: Path, python: Command
) -> None:
    done = python(*OPTIONS, f"hydra.run.dir={elsewhere}/x", "launch.processes=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert only_run(project).data.params["data.train_file"] == str(project / "train.jsonl")
    assert not list(elsewhere.rglob("outputs"))


def test_hydras_own_folder_is_not_taken_for_that_of_the_run(expkit: Command, project: Path) -> None:
    done = expkit(*TINY, "lora=none", "dry_run=true", "hydra.run.dir=mine")
    assert done.returncode == 0, done.stderr
    assert f"hydra.run.dir=mine: nothing is written there; the files of a run are in {project}" in (
        done.stdout.replace("\n", " ")
    )


def _dangling(outputs: Path) -> None:
    outputs.symlink_to("/nowhere/outputs")


def _file(outputs: Path) -> None:
    outputs.touch()


def _below_a_dangling_link(outputs: Path) -> None:
    outputs.symlink_to(outputs.parent / "gone" / "deeper")


@pytest.mark.parametrize("make", [_dangling, _file, _below_a_dangling_link])
@pytest.mark.parametrize("options", [(), ("-m",)])
def test_outputs_that_are_none_are_one_message(
    make: Callable[[Path], None], options: tuple[str, ...], project: Path, expkit: Command
) -> None:
    (project / "outputs").rmdir()
    (project / "pyproject.toml").touch()
    make(project / "outputs")
    done = expkit(*options, *TINY, "lora=none", "train.max_steps=1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"expkit: {project}/outputs: is a ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_outputs_that_must_not_be_written(project: Path) -> None:
    (project / "outputs").chmod(0o555)
    with pytest.raises(UserError, match="must not be written to"):
        require_outputs()


@pytest.mark.parametrize("options", [("seed=1,2",), ()])
def test_a_sweep_does_not_go_on_with_one_run(
    options: tuple[str, ...], project: Path, expkit: Command
) -> None:
    done = expkit("-m", *TINY, *options, "resume=0123abcd")
    assert done.returncode == 2
    assert "resume=0123abcd: is for a single run; a sweep goes on with resume=auto" in done.stderr
    assert not (project / "outputs" / "mlflow.db").exists()


@pytest.mark.parametrize("option", ["--config-path=mine", "--config-path=/tmp"])
def test_another_config_path_says_what_to_use(option: str, expkit: Command) -> None:
    done = expkit(option)
    assert done.returncode == 2
    assert "--config-dir FOLDER adds yours" in done.stderr
