"""`expkit doctor`: what is here, what is broken, and that it leaves nothing behind."""

import re
import sys
from argparse import Namespace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from expkit.commands import doctor


def rows(printed: str) -> dict[str, str]:
    """The cells of a Markdown table with two columns."""
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", printed, re.M))


def test_a_table_says_what_is_here_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert doctor.run(Namespace())
    found = rows(capsys.readouterr().out)
    assert found["version.torch"] == sys.modules["torch"].__version__
    assert re.fullmatch(r"\d+", found["hardware.threads"])
    assert found["device"].startswith(("cpu, ", "cuda, "))
    assert found["precision"].startswith("auto takes ")
    assert found["store"] == f"sqlite:///{tmp_path}/outputs/mlflow.db, no runs yet"
    assert found["outputs"].startswith(f"{tmp_path}/outputs, ")
    assert not list(tmp_path.iterdir())


def test_what_is_broken_is_a_row_and_no_password_is_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setitem(sys.modules, "torch", None)  # `import torch` then fails

    def without_optuna(*, name: str) -> object:
        return () if name == "optuna" else distributions(name=name)

    monkeypatch.setattr(doctor, "distributions", without_optuna)
    assert not doctor.run(Namespace())
    printed = capsys.readouterr().out
    found = rows(printed)
    assert "torch" in found["BROKEN: machine"]
    assert "http://***@127.0.0.1:9/: no server answers there" in found["BROKEN: store"]
    assert "unset ONEDNN_DEFAULT_FPMATH_MODE" in found["BROKEN: surroundings"]
    assert found["extra optuna"] == "lacks optuna>=4: pip install 'expkit[optuna]'"
    assert found["extra joblib"] == "complete"
    assert "secret" not in printed


def test_an_outputs_folder_that_takes_no_runs_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").touch()
    assert not doctor.run(Namespace())
    assert "is a file" in rows(capsys.readouterr().out)["BROKEN: surroundings"]
