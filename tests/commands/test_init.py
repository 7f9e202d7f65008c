"""`expkit init`: what it writes, and what it refuses."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from expkit.commands.init import parser, run
from expkit.config.composition import composed
from expkit.config.fingerprint import sources
from expkit.config.project import decided_once
from expkit.config.resolved import plain
from expkit.terminal.errors import UserError


def made(folder: Path) -> Path:
    assert run(parser().parse_args([str(folder)]))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_dash_becomes_an_underscore_in_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = made(tmp_path / "deep" / "film-critic")
    assert "with the package film_critic" in capsys.readouterr().out
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    assert settings["project"]["name"] == "film-critic"
    assert settings["tool"]["expkit"] == {"trusted_modules": ["film_critic"]}
    written = contents(project)
    assert {"film_critic/__init__.py", "test_film_critic.py", ".gitignore"} <= set(written)
    assert not [name for name in written if b"my_project" in written[name]]
    machine = str(Path(sys.prefix)).encode()
    assert [name for name in written if machine in written[name]] == ["python.mk"]


@pytest.mark.parametrize("folder", ["film-critic", "film-critic/data"])
def test_its_recipe_is_complete_and_takes_no_path_of_this_machine(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(tmp_path / "film-critic")
    monkeypatch.chdir(tmp_path / folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with decided_once():
        cfg = composed(["experiment=first"])
        (tmp_path / folder / cfg.data.train_file).resolve(strict=True)
        assert cfg.direction == "minimize", "as the metric of the project says"
        config = plain(cfg)
        assert str(tmp_path) not in str(config)
        before = sources(config)["film_critic"]
        with pytest.raises(UserError, match=r"task.metrics.cost.mised=1: .*did you mean 'missed'"):
            composed(["experiment=first", "+task.metrics.cost.mised=1"])
    assert len(before) == 64
    assert (project / "data" / "train.jsonl").read_text().count("\n") == 160


@pytest.mark.parametrize(
    "name",
    ["my project", "class", "123", "expkit", "Expkit", "torch", "numpy", "os", "data", "conf",
     "Makefile", "outputs", "a.b", "-x", "x-", "über", "hydra_plugins", "my-project\n", "test", "pip"],
)  # fmt: skip
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no name for a project") as raised:
        made(tmp_path / name)
    assert repr(name) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "critic"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    made(Path())
    before = contents(project)
    assert len(before) > 10
    with pytest.raises(UserError, match="critic: is not empty, and nothing in it is overwritten"):
        made(project)
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below"):
        with pytest.raises(UserError, match=r"file.*: Not a directory"):
            made(tmp_path / place)
    assert contents(project) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_make_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = made(tmp_path / "critic")
    monkeypatch.delenv("MAKEFLAGS", raising=False)  # of the make that runs the tests
    monkeypatch.delenv("MAKELEVEL", raising=False)
    told = subprocess.run(["make"], cwd=project, capture_output=True, text=True)
    assert told.stdout.splitlines() == [
        "make help: list the targets",
        "make run: train as conf/experiment/first.yaml says",
        "make test: run the tests, and two steps of the recipe",
        "make ui: open the MLflow UI on the runs",
    ]
    (project / "python.mk").unlink()
    bare = {"PATH": "/usr/bin:/bin", "PYTHON": "/no/such/python"}
    for target in ("run", "test", "ui"):
        done = subprocess.run(
            ["make", target], cwd=project, capture_output=True, text=True, env=bare
        )
        assert done.returncode == 2
        why = f"type make {target} PYTHON=/path/to/python, or correct python.mk"
        assert done.stdout == f"/no/such/python has no expkit; {why}\n"
        assert "Traceback" not in done.stderr
