"""What a search may vary."""

import warnings

import pytest

pytest.importorskip("optuna")

from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from expkit.sweeps.search.space import _distribution


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("range(1,4)", IntDistribution(1, 3)),
        ("range(4,1,-1)", IntDistribution(2, 4)),
        ("range(0,10,3)", IntDistribution(0, 9, step=3)),
        ("range(0.1,0.9,0.3)", FloatDistribution(0.1, 0.7, step=0.3)),
        ("range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("range(1.0,3.0)", FloatDistribution(1.0, 2.0, step=1.0)),
        ("shuffle(range(1,4))", IntDistribution(1, 3)),
        ("tag(log,range(1,4))", IntDistribution(1, 3, log=True)),
    ],
)
def test_a_range_has_all_its_values(values: str, expected: BaseDistribution) -> None:
    override = OverridesParser.create().parse_override(f"x={values}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna would leave out the end of a range
        assert _distribution(override) == expected
