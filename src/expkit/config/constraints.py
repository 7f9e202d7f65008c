"""Ranges of numbers, written where a component names its parameters.

    def __init__(self, max_length: Annotated[int, at_least(4)]) -> None: ...

expkit reads them from the source of a component, its own or a user's, without importing it. A bound that is
computed makes it import the module. `Literal["drop", "keep"]` of `typing` names the words that are allowed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The bounds of a number, each of which may be missing."""

    minimum: float | None = None
    above: float | None = None
    below: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        for bound in (self.minimum, self.above, self.below, self.maximum):
            if not isinstance(bound, int | float | None):
                raise TypeError(f"a bound of a range is {bound!r}; expected a number")

    def violated_by(self, value: float) -> str | None:
        """What `value` would have to be, such as "at least 4"; None if it is within the bounds."""
        checks = (
            (self.minimum, "at least", lambda bound: value >= bound),
            (self.above, "more than", lambda bound: value > bound),
            (self.below, "less than", lambda bound: value < bound),
            (self.maximum, "at most", lambda bound: value <= bound),
        )
        violated = (f"{words} {b}" for b, words, holds in checks if b is not None and not holds(b))
        return next(violated, None)


def at_least(minimum: float, *, below: float | None = None, at_most: float | None = None) -> Range:
    """A number from `minimum` on."""
    return Range(minimum=minimum, below=below, maximum=at_most)


def above(minimum: float, *, below: float | None = None, at_most: float | None = None) -> Range:
    """A number that is greater than `minimum`."""
    return Range(above=minimum, below=below, maximum=at_most)


RANGES = (at_least, above)
