"""The commands beside `python -m expkit` end with one message."""

import pytest

from expkit.commands import compare
from expkit.commands.command import command
from expkit.terminal.errors import INTERRUPTED, UserError


def test_an_error_of_the_user_is_one_message() -> None:
    with pytest.raises(SystemExit) as ended, command("sync"):
        raise UserError("http://me:secret@host/: is away\ntry later")
    assert ended.value.code == "expkit.sync: http://***@host/: is away\n  try later"


def test_ctrl_c_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "compare", interrupted)
    with pytest.raises(SystemExit) as ended:
        compare.main([])
    assert ended.value.code == INTERRUPTED
    assert capfd.readouterr().err == "expkit.compare: interrupted\n"
