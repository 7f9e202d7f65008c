"""What a target accepts is read from its source, and reading agrees with Python."""

import inspect
import subprocess
import sys

import pytest
import torch

from expkit.config.signatures import signature_of
from expkit.config.targets import TargetError


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "NAdam"])
def test_reading_agrees_with_inspect(name: str) -> None:
    found = signature_of(f"torch.optim.{name}")
    parameters = inspect.signature(getattr(torch.optim, name)).parameters.values()
    assert found is not None
    assert set(found.kinds) == {p.name for p in parameters}
    assert found.required == tuple(p.name for p in parameters if p.default is p.empty)


def test_reading_imports_nothing() -> None:
    code = (
        "import sys; from expkit.config.signatures import signature_of;"
        "signature_of('torch.optim.AdamW'); signature_of('expkit.backends.torch_loop.TorchLoop');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("torch.optim.AdamX", "no 'AdamX'.*did you mean 'Adam"),
        ("torch.optimizers.Adam", "'torch.optimizers' does not exist.*'optim'"),
        ("no_such_package.X", "no module named 'no_such_package'"),
        ("Adam", "package.module.Name"),
        ("expkit.optim.linaer", "no 'linaer'.*did you mean 'linear'"),
    ],
)
def test_missing_parts_are_named(target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        signature_of(target)


def test_what_reading_cannot_tell_is_left_open() -> None:
    assert signature_of("collections.OrderedDict") is None
