"""One entry an option: all that programs, checks, reports and resumed runs know of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ssl_weighting.training.solved import STEPS


class Range(NamedTuple):
    """The numbers that an option may be."""

    text: str  # "--NAME must be TEXT"
    holds: Callable[[float], bool]


POSITIVE = Range("greater than 0", lambda x: x > 0)
NOT_NEGATIVE = Range("0 or more", lambda x: x >= 0)
AT_MOST_ONE = Range("in [0, 1]", lambda x: x <= 1)
FRACTION = Range("in [0, 1)", lambda x: 0 <= x < 1)
OR_MINUS_ONE = Range("0 or more, or -1", lambda x: x >= 0 or x == -1)
FINITE = Range("finite", math.isfinite)
# Beyond these, float32 and int32 run over before anybody could say in which option.
OF_USE = {
    float: Range("at most 1e30 in size", lambda x: abs(x) <= 1e30 or math.isinf(x)),
    int: Range("less than 2^31", lambda x: abs(x) < 2**31),
}


class Need(NamedTuple):
    """When an option does something; on a command line it is refused otherwise."""

    text: str  # "it needs TEXT"
    holds: Callable[[Any], bool]  # of a `Config`

    def with_(self, other: Need) -> Need:
        """Return the need of this and the other."""
        return Need(f"{self.text} and {other.text}", lambda c: self.holds(c) and other.holds(c))


# Where a theta-step is one solution of the whole objective there are no batches.
IN_BATCHES = Need("--inner=steps", lambda config: config.inner == STEPS)


# What becomes of a run when an option is given another value.
RESULT = "result"  # it computes something else
ROUNDING = "rounding"  # it computes the same, with other rounding errors
BOOKKEEPING = "bookkeeping"  # it computes the same to the bit, and keeps or shows it otherwise
CONTENT = "content"  # it depends on what lies there; where it lies does not matter
EFFECTS = (RESULT, ROUNDING, BOOKKEEPING, CONTENT)


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of an option beside its name and its default.

    Attributes:
        help: for --help; an option that no recipe sets says there what it is for.
        group: the subject, which stands before the help.
        choices: the values it may take, () for any; the library's names, so that a mistyped one is
            refused before TensorFlow is imported (a test compares the two).
        ranges: of a number; the first that fails is named. Without `infinite` it is finite too.
        needs: None: it always matters.
        effect: one of `EFFECTS`.
        free: a run may go on from its checkpoint with another value.
        departs: a value other than the recipe's is a DEVIATION that log and results name.
    """

    help: str
    group: str
    choices: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    infinite: bool = False
    needs: Need | None = None
    effect: str = RESULT
    free: bool = False
    departs: bool = True

    def check(self, name: str, value: Any) -> None:
        """Check one value.

        Raises:
            ValueError: names the option, what it must be and what was received.
        """
        if self.choices and value not in self.choices:
            raise ValueError(
                f"--{name} must be one of {', '.join(self.choices)}. Received: {value!r}"
            )
        number = type(value) in (int, float)
        usual = (OF_USE[type(value)],) if number else ()
        for one in (*(() if self.infinite or not number else (FINITE,)), *self.ranges, *usual):
            if not one.holds(value):
                raise ValueError(f"--{name} must be {one.text}. Received: {value}")


class Group:
    """Declares the options of one subject.

    Args:
        name: stands before the help texts of its options.
        departs: `Entry.departs` of its options where they do not say.
    """

    def __init__(self, name: str, departs: bool = True):
        self.name, self.departs = name, departs

    def __call__(self, default, text: str, *ranges: Range, **known) -> Any:
        """Return the dataclass field of an option; `known` are attributes of `Entry`."""
        known = {"departs": self.departs} | known
        entry = Entry(text, self.name, ranges=ranges, **known)
        return dataclasses.field(default=default, metadata={"entry": entry})


def entries(config_class: type) -> Mapping[str, Entry]:
    """Return name -> entry of every option, in the order in which they are declared."""
    return {field.name: field.metadata["entry"] for field in dataclasses.fields(config_class)}


def written(value: Any) -> str:
    """Return a value as a command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_one_of(name: str, values: Iterable[str]) -> Callable[[Any], bool]:
    """Return the condition that an option has one of these values."""
    values = tuple(values)
    return lambda config: getattr(config, name) in values
