"""What the numbers of an algorithm must be, by the names that the algorithms share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_weighting.checks import check_number

_POSITIVE = {"above": 0}
_WHOLE = {"whole": True}
_AT_LEAST_ONE = {"least": 1, "whole": True}
RANGES = {
    "threshold": {"most": 1},
    "temperature": _POSITIVE,
    "mixup_beta": _POSITIVE,
    "vat_epsilon": _POSITIVE,
    "xi": _POSITIVE,
    "wu": {},
    "entropy_coefficient": {},
    "kl_coefficient": {},
    "rotation_coefficient": {},
    "ramp_steps": _WHOLE,
    "seed": _WHOLE,
    "num_steps": _AT_LEAST_ONE,
    "num_classes": _AT_LEAST_ONE,
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the numbers among the settings of an algorithm, by name.

    Raises:
        ValueError: names the first that is out of range.
    """
    for name, value in settings.items():
        if name in RANGES:
            check_number(name, value, **RANGES[name])


# The views that each pass of a theta-step through the network joins, in their order.
Passes = tuple[tuple[str, ...], ...] | None


class Checked:
    """An algorithm whose numbers are checked when it is made: a dataclass checks them itself."""

    def passes(self) -> Passes:
        """Return which of "labeled", "weak" and "strong" each pass joins.

        None: inputs are mixed or changed before they are passed, so that all of them are needed.
        """
        return None

    def __post_init__(self):
        """Check the numbers.

        Raises:
            ValueError: names the first that is out of range.
        """
        check_settings(vars(self))
