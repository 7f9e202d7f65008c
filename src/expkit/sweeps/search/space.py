"""What a search may vary, from Hydra's own syntax for sweeps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from expkit.config.messages import explain
from expkit.config.texts import TextParser
from expkit.terminal.errors import ConfigError

Space = dict[str, BaseDistribution]


def search_space(loader: ConfigLoader, arguments: Sequence[str]) -> tuple[list[str], Space]:
    """Separate the overrides that all trials share from the keys to search.

    The values of a categorical distribution are texts, as in an override.

    Raises:
        ConfigError: Optuna cannot search something, or there is nothing to search.
    """
    fixed: dict[str, str] = {}
    space: Space = {}
    problems = []
    parser = TextParser.create(config_loader=loader)
    for text in arguments:
        try:
            override = parser.parse_override(text)
            key = override.get_key_element()
            fixed.pop(key, None)  # the last one counts
            space.pop(key, None)
            if override.is_sweep_override():
                space[key] = _distribution(override)
            else:
                fixed[key] = text
        except HydraException as error:
            problems.append(explain(error, [text]))
        except ValueError as error:
            problems.append(f"{text}: cannot be searched: {error}")
    if not space and not problems:
        problems.append(
            "hydra/sweeper=optuna: nothing to search; give a key several values, such as "
            "optimizer.lr=tag(log,interval(1e-5,1e-2)) or optimizer=adamw,sgd"
        )
    if problems:
        raise ConfigError(problems)
    return list(fixed.values()), space


def _distribution(override: Override) -> BaseDistribution:
    """Raises ValueError if Optuna has no such distribution."""
    value = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if unknown := tags - {"log"}:
        raise ValueError(f"tag {sorted(unknown)[0]!r} means nothing here; allowed: log")
    log = "log" in tags
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    if isinstance(value, RangeSweep):
        return _range(list(override.sweep_iterator()), abs(value.step), log)
    if log:
        raise ValueError("the tag log is for interval() and range()")
    return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))


def _range(values: list[Any], step: float, log: bool) -> BaseDistribution:
    """Return the distribution of a range; its end is exclusive, as in Hydra's own sweeps."""
    if not values:
        raise ValueError("the range is empty")
    low, high = min(values), max(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log, step=int(step))
    return FloatDistribution(low, high, log=log, step=step)


def probes(space: Space) -> Iterator[list[str]]:
    """Yield overrides that together contain each choice and both ends of each number."""
    ends = {key: _ends(distribution) for key, distribution in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    yield as_overrides(first)
    for key, values in ends.items():
        for value in values[1:]:
            yield as_overrides({**first, key: value})


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def as_overrides(parameters: Mapping[str, Any]) -> list[str]:
    """Return the overrides that set these values."""
    return [f"{key}={value}" for key, value in parameters.items()]


def shown(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the values as the name of a trial shows them, numbers with three digits."""
    return {
        key.lstrip("+"): f"{value:.3g}" if isinstance(value, float) else str(value)
        for key, value in parameters.items()
    }
