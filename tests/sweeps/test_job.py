"""What launchers call for each job."""

import pytest
from mlflow.exceptions import MlflowException

from expkit.sweeps.job import _mark_failed
from expkit.terminal.errors import UserError


def test_a_store_that_refuses_the_end_of_a_run_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The launcher of several processes knows nothing of MLflow, and shows what is a UserError."""

    def refuses(*_: object) -> bool:
        raise MlflowException("no such run\nand more")

    monkeypatch.setattr("expkit.tracking.run.end_for", refuses)
    with pytest.raises(UserError, match=r"^MlflowException: no such run$"):
        _mark_failed({}, "0" * 32, "process 1 of 2 has died", True)
