"""Errors cross from process to process, and say one thing each."""

import pickle

from expkit.errors import ConfigError, UserError, reason


def test_problems_survive_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(ConfigError(["one: a", "two: b"])))  # noqa: S301
    assert error.problems == ["one: a", "two: b"]
    assert str(error) == "one: a\ntwo: b"


def test_a_reason_is_one_line() -> None:
    assert reason(UserError("first\nsecond")) == "first"
    assert reason(ValueError("\n  deep\nmore")) == "ValueError: deep"
    assert reason(ValueError()) == "ValueError"
