"""Play cases on this machine, every way that it can, and say whether each gives what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from experiments.device_check.cases import Case, Variant, variants
from experiments.device_check.compare import TOLERANCES, Deviation, compare
from experiments.device_check.play import Played, play
from experiments.device_check.records import FOLDER, read
from experiments.device_check.trace import Trace


class Row(NamedTuple):
    """One case, played one way."""

    case: str
    variant: Variant
    deviation: Deviation
    played: Played | None  # None: it raised an error, which `deviation` names

    @property
    def passed(self) -> bool:
        """Whether all is within what is allowed."""
        return self.deviation.share <= 1


def check(
    cases: Iterable[Case],
    gpus: int,
    devices: int,
    seconds: float,
    folder: Path = FOLDER,
    say: Callable[[str], object] = lambda text: None,
) -> list[Row]:
    """Play the cases and compare them with their recorded traces.

    Args:
        cases: of `CASES`.
        gpus, devices: as in `variants`.
        seconds: of each timing.
        folder: of the traces.
        say: told what is played.

    Raises:
        ValueError: a trace is missing or damaged; nothing is played then.
    """
    recorded = {case.name: read(case.name, folder) for case in cases}
    rows = []
    for case in cases:
        for variant in variants(case, gpus, devices):
            say(f"{case.name}, {variant.name}")
            rows.append(checked(case, variant, recorded[case.name], seconds))
    return rows


def checked(
    case: Case, variant: Variant, recorded: Trace, seconds: float = 0.0, **disturbed
) -> Row:
    """Play a case one way; an error on the way is a row that did not pass.

    Args:
        recorded: its trace; `seconds` and `disturbed` are those of `play`.
    """
    tolerance = TOLERANCES[variant.tolerance]
    try:
        played = play(case, variant, steps=tolerance.steps, seconds=seconds, **disturbed)
    except Exception as error:  # whatever a device, a driver or a missing kernel has to say
        text = " ".join(str(error).split())[:300]
        return Row(
            case.name, variant, Deviation(float("inf"), f"{type(error).__name__}: {text}"), None
        )
    return Row(case.name, variant, compare(played.trace, recorded, tolerance), played)
