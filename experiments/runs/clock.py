"""How long theta-steps and Lambda-steps take, and how many steps fit into one piece."""

from __future__ import annotations

import time

from experiments.runs.log import RunLog
from experiments.runs.stop import SECONDS


class Clock:
    """Divides the time of a run between theta-steps and Lambda-steps, event by event.

    A Lambda-step on old weights takes a theta-step along, in one piece: that one counts as long as
    a theta-step of the block before.

    Args:
        log: `RunLog`; step: where the run stands.
        refit_from: the step after which a refit begins; 0: there is none.

    Attributes:
        most: theta-steps that will take `SECONDS` at most, as far as can be told; one at first.
    """

    def __init__(self, log: RunLog, step: int, refit_from: int = 0):
        self.log, self.step, self.refit_from, self.most = log, step, refit_from, 1
        self.seconds_per_step = self.along = 0.0

    def timed(self, events):
        """Yield the events; what the caller does between them takes no time."""
        while True:
            started = time.monotonic()
            if (event := next(events, None)) is None:
                return
            yield event, time.monotonic() - started

    def count(self, event, seconds: float, steps_taken: int) -> None:
        """Count an event that took `seconds` and after which the run stands at `steps_taken`."""
        if event.kind == "lambda":
            self.along = min(seconds, self.seconds_per_step * (steps_taken - event.step))
            self.log.spent("lambda", seconds - self.along)
            return
        seconds, self.along = seconds + self.along, 0.0
        refits = 0 < self.refit_from < event.step
        self.log.spent("refit" if refits else "theta", seconds)
        self.seconds_per_step, self.step = seconds / (event.step - self.step), event.step
        fits = int(SECONDS / max(self.seconds_per_step, 1e-9))
        self.most = max(1, min(fits, 4 * self.most))  # one fast step may have found its batch ready
