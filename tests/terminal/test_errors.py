"""Errors cross from process to process, and say one thing each."""

import pickle
import time

import pytest

from expkit.processes.exits import complain
from expkit.terminal.errors import ConfigError, UserError, nearest, reason


def test_problems_survive_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(ConfigError(["one: a", "two: b"])))  # noqa: S301
    assert error.problems == ["one: a", "two: b"]
    assert str(error) == "one: a\ntwo: b"


def test_a_reason_is_one_line() -> None:
    assert reason(UserError("first\nsecond")) == "first"
    assert reason(ValueError("\n  deep\nmore")) == "ValueError: deep"
    assert reason(ValueError()) == "ValueError"


def test_a_line_that_is_too_long_is_printed_without_its_middle(
    capsys: pytest.CaptureFixture[str],
) -> None:
    complain(ConfigError([f"first={'x' * 50_000}: wrong", "second: wrong"]))
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("expkit: first=xxx")
    assert first.endswith("xxx: wrong")
    assert "48,013 characters left out" in first
    assert second == "  second: wrong"


def test_the_nearest_of_long_names_is_found_soon() -> None:
    started = time.perf_counter()
    message = nearest("ab" * 500_000, ["ba" * 500_000, "x"])
    assert time.perf_counter() - started < 5
    assert len(message) < 500


def test_a_number_alone_makes_no_process_of_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clusters set RANK for purposes of their own."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    complain(UserError("no such file"))
    assert capsys.readouterr().err == "expkit: no such file\n"
